"""Owns the compiled protocol by which the workers of a team meet."""
