"""Owns the arithmetic on the device: this project's CUDA kernels, and cuSPARSE's products."""
