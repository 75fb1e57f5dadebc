"""Owns the run of row groups through the layers on streams, alone or in teams across devices."""
