"""Owns the run of one point: loads, estimates memory, infers, checks, shows."""
