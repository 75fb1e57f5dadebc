"""Owns the compiled code for activations in CSR."""
