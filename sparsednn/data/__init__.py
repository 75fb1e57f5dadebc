"""Owns the data: generates networks, rebuilds the challenge's inputs, and reads and writes the users' file formats."""
