"""Draws weak scaling: the rate of each core with equally many instances per core, on more and more cores."""

from __future__ import annotations

from experiments.figures.base import scaling as _scaling
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Points

EFFICIENCY = _scaling.Kind(
    "Weak scaling: as many instances for each core",
    "efficiency (time on the fewest cores / time)",
    lambda first, point: first.median_s / point.median_s,
    lambda _: 1.0,
)


def draw(points: Points) -> Drawing:
    """Draw how much of the rate of each core is left with more of them."""
    return _scaling.draw(points, EFFICIENCY)
