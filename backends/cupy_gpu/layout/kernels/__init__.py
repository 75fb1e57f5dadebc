"""Owns the compiled code that packs layers for GPUs on the host."""
