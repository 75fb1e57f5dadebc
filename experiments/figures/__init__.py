"""Figures, one module each, drawn from recorded figures only."""
