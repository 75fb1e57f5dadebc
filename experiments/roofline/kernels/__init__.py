"""Compiled loops that measure arithmetic and bandwidths."""
