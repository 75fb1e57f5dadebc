"""Owns the network's packed arrays, in memory or in files that a thread reads ahead."""
