"""Owns inference on NVIDIA GPUs: cuSPARSE and a fused kernel through CuPy."""
