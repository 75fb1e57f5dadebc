"""Owns the folders in which other programs keep trained networks, their instances, and the classes that they predict."""
