"""Owns the compiled loops that measure arithmetic and bandwidths."""
