"""Draws points that differ in one thing and ran in turn: times, and ratios of each sweep's first point to the others.

The runs of a round see the same machine, whose speed changes: so ratios are taken round by round, and their median is told with
its 95 % interval. Of data_then_model, it shows where the workers' time went too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame
from experiments.records.statistics import Interval, median_interval, ratios_in_turn
from experiments.records.summary import LOCKING

TEAMS = "data_then_model"
"""The scheduler with a locking mechanism."""

PARTS = (*LOCKING, "locking", "wait")
ROOM = 8.0  # right of the longest bar, for the text beside it


@dataclass(frozen=True, slots=True)
class Compared:
    """A point, and how many times as long the first of its sweep takes; neither for the first, nor without a common round.

    Attributes
    ----------
    point : Point
    first : Point
        Of the same sweep.
    ratios : list of float
        Seconds of the first over those of the point, for each round that has both.
    """

    point: Point
    first: Point
    ratios: list[float]

    @property
    def interval(self) -> Interval | None:
        """The median of the ratios, and its 95 % interval."""
        return median_interval(self.ratios) if self.ratios else None


def compared(points: Sequence[Point]) -> list[Compared]:
    """Compare each point with the first of its sweep; in the order of `points`."""
    first: dict[str, Point] = {}
    for point in points:
        first.setdefault(point.sweep, point)
    return [
        Compared(point, first[point.sweep], [] if point is first[point.sweep] else ratios_in_turn(first[point.sweep], point))
        for point in points
    ]


def locking_ms(point: Point) -> list[dict[str, float]]:
    """Return the parts of the locking mechanism, and sleep, of each worker: medians over the records, in milliseconds."""
    if point.run.scheduler != TEAMS:
        return []
    return [
        {part: 1e3 * median(getattr(run.workers[worker], f"{part}_s") for run in point.runs) for part in PARTS}
        for worker in range(len(point.run.workers))
    ]


def draw(points: Points) -> Drawing:
    """Draw the times as bars, and beside them the ratios with their intervals."""
    found = compared(points.points)
    figure = style.new_figure(11.0, 2.2 + 0.34 * (len(found) + len({one.point.sweep for one in found})))
    times, ratios = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
    rows = _rows(found)
    _draw_times(times, found, rows)
    _draw_ratios(ratios, found, rows)
    times.set_yticks(rows, [f"{one.point.sweep}: {one.point.label}" for one in found], fontsize=8)
    times.invert_yaxis()
    shown = "medians and ratios round by round, lines from smallest to largest time and over 95 % intervals"
    style.entitle(figure, f"In turn, round after round: {points.name}", points, shown)
    return Drawing(figure, _data(found), Group(*_tables(found)))


def _rows(found: Sequence[Compared]) -> list[int]:
    """Return the row of each point; there is an empty one between sweeps."""
    sweeps = list(dict.fromkeys(one.point.sweep for one in found))
    return [number + sweeps.index(one.point.sweep) for number, one in enumerate(found)]


def _draw_times(axes: Axes, found: Sequence[Compared], rows: Sequence[int]) -> None:
    points = [one.point for one in found]
    for row, one in zip(rows, found, strict=True):
        point = one.point
        axes.barh(row, point.median_s, height=0.7, **style.bar(0 if point is one.first else 1, point.simulated))
        text = style.labelled(f"  {style.time_text(point.median_s)}", point.simulated)
        axes.text(max(point.times_s), row, text, va="center", size=8)
    medians = [point.median_s for point in points]
    axes.errorbar(medians, rows, xerr=style.spread(points), fmt="none", color="black", capsize=2)
    axes.grid(visible=False, axis="y")
    style.limits_around(axes, points, ROOM)
    axes.set_xlabel("inference time (s, logarithmic)")


def _draw_ratios(axes: Axes, found: Sequence[Compared], rows: Sequence[int]) -> None:
    for row, one in zip(rows, found, strict=True):
        if one.interval is not None:
            middle, low, high = one.interval
            spread = [[middle - low], [high - middle]]
            axes.errorbar(middle, row, xerr=spread, fmt="o", color=style.COLOURS[1], capsize=3)
            axes.annotate(f"{middle:.2f}", (high, row), (6, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(1, color=style.GREY, linestyle=":")
    style.logarithmic(axes, "x")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.margins(x=0.2)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("first of the sweep / this")


def _data(found: Sequence[Compared]) -> pd.DataFrame:
    data = frame(one.point for one in found)
    data["compared"] = [None if one.interval is None else one.first.label for one in found]
    data["rounds"] = [len(one.ratios) for one in found]
    for place, name in enumerate(("ratio", "ratio_low", "ratio_high")):
        data[name] = [None if one.interval is None else one.interval[place] for one in found]
    locking = [locking_ms(one.point) for one in found]
    for part in PARTS:
        data[f"{part}_ms_per_worker"] = [fmean(worker[part] for worker in of) if of else None for of in locking]
    return data


def _tables(found: Sequence[Compared]) -> list[Table]:
    locking = [(one.point, workers) for one in found if (workers := locking_ms(one.point))]
    return [_times_table(found), *([_locking_table(locking)] if locking else [])]


def _times_table(found: Sequence[Compared]) -> Table:
    table = Table(title="Medians; ratios: the first of the sweep / this, round by round, with 95 % intervals")
    left = ("", "how")
    for name in (*left, "instances", "inference s", "smallest to largest", "performed e9/s", "nominal e9/s", "ratio", "rounds"):
        table.add_column(name, justify="left" if name in left else "right")
    for one in found:
        point, run = one.point, one.point.run
        ratio = "" if one.interval is None else "{:.3f} ({:.3f} to {:.3f})".format(*one.interval)
        table.add_row(
            escape(point.sweep) if point is one.first else "",
            escape(point.label),
            f"{run.instances:,}",
            style.labelled(f"{point.median_s:.4g}", point.simulated),
            f"{min(point.times_s):.4g} to {max(point.times_s):.4g}",
            f"{run.performed_edges / point.median_s / 1e9:.2f}",
            f"{run.instances * run.network_nnz / point.median_s / 1e9:.0f}",
            ratio,
            str(len(one.ratios) or ""),
        )
    return table


def _locking_table(found: Sequence[tuple[Point, list[dict[str, float]]]]) -> Table:
    """The parts of the locking mechanism and sleep, for each worker."""
    table = Table(title=f"The locking mechanism of {TEAMS}: medians in ms")
    for name in ("", "worker", *LOCKING, "all", "share of the run", "asleep"):
        table.add_column(name, justify="right" if name else "left")
    for point, workers in found:
        for number, parts in enumerate(workers):
            cells: list[Any] = [f"{parts[part]:.3f}" for part in (*LOCKING, "locking")]
            share = f"{parts['locking'] / point.median_s / 10:.2f} %"
            name = "" if number else escape(f"{point.sweep} / {point.label}")
            table.add_row(name, str(number), *cells, share, f"{parts['wait']:.1f}")
    return table
