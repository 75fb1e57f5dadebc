"""Computes medians with their intervals, and ratios of runs that took turns."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import scipy

from experiments.records.point import about_of
from experiments.records.read import Point

WIDTH = 150
"""Characters in a line of a console that tables are written to."""

Interval = tuple[float, float, float]
"""A median, and the ends of its 95 % interval."""


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median of `values` and the ends of its 95 % interval (bootstrap, percentiles; Efron 1979)."""
    middle = float(np.median(values))
    if len(values) < 2:
        return middle, middle, middle
    found = scipy.stats.bootstrap((values,), np.median, method="percentile", rng=np.random.default_rng(0), n_resamples=5000)
    return middle, float(found.confidence_interval.low), float(found.confidence_interval.high)


def ratios_in_turn(one: Point, other: Point) -> list[float]:
    """Return the seconds of one point over those of another, for each round that has both; of repeats, the median counts.

    A round of `other` is the run of it between two runs of `one` of the same experiment: so `one` comes first in each round. A
    round in which either failed, or stands for a run at another time (resume=true), is left out.
    """
    found: list[float] = []
    theirs = _by_run(other)
    for run, mine in _by_run(one).items():
        for number, end in pairwise([*sorted(mine), math.inf]):
            turn = min((n for n in theirs[run] if number < n < end), default=None)
            if turn is not None:
                found.append(mine[int(number)] / theirs[run][turn])
    return found


def _by_run(point: Point) -> dict[Path, dict[int, float]]:
    """Return the seconds of each record, by the folder of its experiment and its number there."""
    found: dict[Path, dict[int, float]] = defaultdict(dict)
    for folder, record in zip(point.folders, point.records, strict=True):
        found[folder.parent][about_of(record).number] = median(record.run.seconds.inference)
    return found
