"""Inference on NVIDIA GPUs: cuSPARSE and a fused kernel through CuPy."""
