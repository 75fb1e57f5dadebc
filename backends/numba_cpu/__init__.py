"""Numba-compiled CPU kernels that run with the GIL released."""
