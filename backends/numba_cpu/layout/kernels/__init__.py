"""Owns the compiled code that finds connections in the packed layers."""
