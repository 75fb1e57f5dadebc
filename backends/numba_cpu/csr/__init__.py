"""Owns the kernel with activations and layers in compressed sparse rows (csr_csr) and its plan."""
