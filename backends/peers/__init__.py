"""Other libraries run the same job, for comparison: MKL, PyTorch, GraphBLAS."""
