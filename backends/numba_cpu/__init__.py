"""Owns inference on CPUs: Numba-compiled kernels that run with the GIL released."""
