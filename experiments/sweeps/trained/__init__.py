"""Owns the benchmark of trained networks: ``python run.py experiment=trained_networks``."""
