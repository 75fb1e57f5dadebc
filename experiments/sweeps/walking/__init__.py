"""Owns the benchmark of walks: what a connection costs sparse kernels, beside the same steps in C."""
