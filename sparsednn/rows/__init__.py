"""Which row group, and which process, has which rows of the input; and the hashing of rows and neurons."""
