"""Owns the sweeps: turns experiments into points, and runs them one after the other."""
