"""Owns the peers, other libraries that run the same job for comparison: MKL, PyTorch, GraphBLAS."""
