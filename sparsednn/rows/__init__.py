"""Owns the assignment of input rows to processes and row groups, and the hashing of rows and neurons."""
