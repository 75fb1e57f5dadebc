"""Draws grouped bars: the times of several ways to run several jobs, with their ratios to one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from rich.markup import escape
from rich.table import Table

from experiments.figures.base import style
from experiments.records.read import Point

NameOf = Callable[[Point], str]
BAR_INCHES = 0.17
PARALLELISMS = ("data", "model", "data_then_model", "manager_worker", "work_stealing")


@dataclass(frozen=True, slots=True)
class Groups:
    """Points by job and by way, both by names in the order in which they come first.

    Attributes
    ----------
    cells : dict
        By job, then by way.
    ways : tuple of str
        Of all jobs.
    """

    cells: dict[str, dict[str, Point]]
    ways: tuple[str, ...]

    @property
    def n_bars(self) -> int:
        """Rows that drawing takes: bars, and one between jobs."""
        return sum(len(ways) + 1 for ways in self.cells.values())

    def ratios(self, base: str) -> dict[str, list[float]]:
        """Return, of each other way, how many times as long it takes as `base`, for each job that has both."""
        found: dict[str, list[float]] = {way: [] for way in self.ways if way != base}
        for ways in self.cells.values():
            for way, point in ways.items():
                if way != base and base in ways:
                    found[way].append(point.median_s / ways[base].median_s)
        return {way: values for way, values in found.items() if values}

    def mean_ratios(self, base: str) -> dict[str, float]:
        """Return the means of `ratios` over the jobs."""
        return {way: fmean(values) for way, values in self.ratios(base).items()}


def network(point: Point) -> str:
    """Name a point's network."""
    return f"{point.run.neurons:,} x {point.run.layers:,}"


def scheduler(point: Point) -> str:
    """Name a point's scheduler."""
    return str(point.run.scheduler)


def asked_scheduler(point: Point) -> str:
    """Name the scheduler that was asked for: with ``auto``, the record of a run has the one that was chosen."""
    return "auto" if point.run.auto is not None else scheduler(point)


def grouped(points: Sequence[Point], job_of: NameOf, way_of: NameOf) -> Groups:
    """Sort points by job and way."""
    cells: dict[str, dict[str, Point]] = {}
    for point in points:
        cells.setdefault(job_of(point), {})[way_of(point)] = point
    return Groups(cells, tuple(dict.fromkeys(way_of(point) for point in points)))


def draw(axes: Axes, groups: Groups, base: str | None, ways: Sequence[str] = ()) -> None:
    """Draw a bar for each point, logarithmic in time; `ways` sets the order of colours, which `base` is compared in texts."""
    order = list(dict.fromkeys([*ways, *groups.ways]))
    row, ticks = 0.0, []
    drawn: list[Point] = []
    for job, cell in groups.cells.items():
        ticks.append((row + (len(cell) - 1) / 2, job))
        for way, point in cell.items():
            axes.barh(row, point.median_s, height=0.85, **style.bar(order.index(way), point.simulated))
            low_high = [[values[0]] for values in style.spread([point])]
            axes.errorbar(point.median_s, row, xerr=low_high, fmt="none", color="black", capsize=1.5, linewidth=0.8)
            axes.text(max(point.times_s), row, f"  {_text(point, cell.get(base or ''))}", va="center", size=7)
            drawn.append(point)
            row += 1
        row += 1
    style.limits_around(axes, drawn, 6.0)
    axes.set_yticks([at for at, _ in ticks], [job for _, job in ticks])
    axes.set_ylim(row - 1.2, -0.8)
    axes.grid(visible=False, axis="y")


def legend(axes: Axes, ways: Sequence[str]) -> None:
    """Explain the colours, in a panel of its own; and what is simulated, if anything can be."""
    handles = [Patch(**style.bar(number, simulated=False), label=way) for number, way in enumerate(ways)]
    hatched = Patch(facecolor="white", edgecolor=style.INK, hatch="///", label=style.SIMULATED)
    style.legend_row(axes, [*handles, hatched], len(ways) + 1)


def _text(point: Point, base: Point | None) -> str:
    ratio = "" if base is None or base is point else f", {point.median_s / base.median_s:.2f} x"
    return style.time_text(point.median_s) + ratio


def table(title: str, parts: Sequence[tuple[str, Groups]], base: str, job: str = "network") -> Table:
    """Return a table of times, smallest and largest, and ratios to `base`; `parts` are named."""
    found = Table(title=title)
    for name in ("", job, "how"):
        found.add_column(name)
    for name in ("inference s", "smallest to largest", f"x {base}"):
        found.add_column(name, justify="right")
    for name, groups in parts:
        for number, (job_name, cell) in enumerate(groups.cells.items()):
            for place, (way, point) in enumerate(cell.items()):
                ratio = f"{point.median_s / cell[base].median_s:.2f}" if base in cell else ""
                times_s = point.times_s
                spread = f"{min(times_s):.4g} to {max(times_s):.4g}" if len(times_s) > 1 else ""
                first = "" if number or place else escape(style.labelled(name, point.simulated))
                seconds = style.labelled(f"{point.median_s:.4g}", point.simulated)
                found.add_row(first, "" if place else escape(job_name), escape(way), seconds, spread, ratio)
        for way, mean in groups.mean_ratios(base).items():
            found.add_row("", "mean of the ratios", escape(way), "", "", f"{mean:.2f}")
        found.add_section()
    return found


def ratio_column(groups: Sequence[Groups], points: Sequence[Point], base: str) -> pd.Series:
    """Return for each of `points` how many times as long it takes as `base` does for the same job; none where there is none."""
    found = {
        id(point): point.median_s / cell[base].median_s
        for group in groups for cell in group.cells.values() if base in cell for point in cell.values()
    }  # fmt: skip
    return pd.Series([found.get(id(point)) for point in points], dtype=float)
