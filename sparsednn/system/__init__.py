"""The operating system is asked here: memory, cores, control groups, files, caches, the console."""
