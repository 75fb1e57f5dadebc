"""Owns the backends: each carries out inference behind `sparsednn.backend.Backend`.

They are found as entry points of the group ``sparsednn.backends`` (see pyproject.toml), never imported by name, so that a
backend whose packages are missing costs nothing until it is asked for.
"""
