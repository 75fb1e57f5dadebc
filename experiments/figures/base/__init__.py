"""Owns what figures share: style, axes, bars, scaling charts, Gantt charts."""
