"""Owns the kernels with activations in compressed sparse columns (csc_csc, csc_udc) and their plan."""
