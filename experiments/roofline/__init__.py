"""Owns the roofline benchmark: compares the kernel's rates with the limits of the machine."""
