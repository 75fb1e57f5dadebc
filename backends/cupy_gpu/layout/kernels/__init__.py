"""Packing for GPUs, in compiled code of the host."""
