"""Owns the kernels with activations in compressed sparse columns or DCSC (csc_csc, csc_udc, dcsc_csc) and their plan."""
