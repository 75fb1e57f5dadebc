"""Compiled code that finds connections in the packed layers."""
