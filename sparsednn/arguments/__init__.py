"""Owns the checks of what callers pass: converts arrays and matrices to float32, and single values to Python's types."""
