"""Experiments become points, and are run one after the other."""
