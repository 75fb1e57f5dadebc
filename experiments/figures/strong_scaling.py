"""The same job on more and more cores."""

from __future__ import annotations

from experiments.drawing import Drawing
from experiments.figures import _scaling
from experiments.records import Points

SPEEDUP = _scaling.Kind(
    "Strong scaling: the same job on more cores",
    "speed-up over the fewest cores",
    lambda first, point: first.median_s / point.median_s,
    lambda times: times,
)


def draw(points: Points) -> Drawing:
    """Draw how many times as fast each number of cores is as the fewest."""
    return _scaling.draw(points, SPEEDUP)
