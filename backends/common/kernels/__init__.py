"""Compiled kernels that several backends use."""
