"""What runs on the device: our own CUDA kernels, and cuSPARSE's products."""
