"""Owns the network's packed arrays, on the host and on devices."""
