"""Draws strong scaling: the speed-up of the same job on more and more cores."""

from __future__ import annotations

from experiments.figures.base import scaling as _scaling
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Points

SPEEDUP = _scaling.Kind(
    "Strong scaling: the same job on more cores",
    "speed-up over the fewest cores",
    lambda first, point: first.median_s / point.median_s,
    lambda times: times,
)


def draw(points: Points) -> Drawing:
    """Draw how many times as fast each number of cores is as the fewest."""
    return _scaling.draw(points, SPEEDUP)
