"""Owns the compiled code for dense blocks."""
