"""Owns all access to GPUs: the interface of a device, and its implementation with CuPy."""
