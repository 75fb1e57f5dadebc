"""Owns all access to the operating system: memory, cores, control groups, files, caches, the console."""
