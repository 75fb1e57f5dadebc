"""Owns the compiled kernels that several backends use."""
