"""Draws speed-ups over numbers of cores, one line for each scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.bars import scheduler
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame

TITLES = {
    "simulated_nodes": "Simulated nodes",
    "measured_threads": "Threads here",
    "measured_processes": "Processes here",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """The value that a line shows: its name, its computation from the first point and another one, and perfect scaling."""

    title: str
    axis: str
    value: Callable[[Point, Point], float]
    perfect: Callable[[float], float]


def cores(point: Point) -> int:
    """Return how many cores a point has."""
    return int(point.run.processes) * int(point.run.threads)


def draw(points: Points, kind: Kind) -> Drawing:
    """Draw a panel for each sweep, and in it a line for each scheduler."""
    sweeps = {sweep: found for sweep in TITLES if (found := points.of(sweep))}
    if not sweeps:
        raise ConfigError(f"experiment {points.name}: none of its points are of the sweeps {', '.join(TITLES)}")
    names = list(dict.fromkeys(scheduler(point) for point in points.points))
    figure = style.new_figure(4.2 * len(sweeps) + 0.6, 4.8)
    panels = figure.subplots(1, len(sweeps), squeeze=False)[0]
    for axes, (sweep, found) in zip(panels, sweeps.items(), strict=True):
        _draw_panel(axes, found, kind, names)
        run = found[-1].run
        job = f"{run.neurons:,} x {run.layers:,}"
        axes.set_title(f"{TITLES[sweep]}, {job}", fontsize=10)
    panels[0].set_ylabel(kind.axis)
    style.entitle(figure, kind.title, points)
    firsts = _firsts(points.points)
    data = frame(points.points)
    data["cores"] = [cores(point) for point in points.points]
    data["value"] = [kind.value(firsts[point.sweep, scheduler(point)], point) for point in points.points]
    return Drawing(figure, data, _table(points, kind))


def _firsts(points: Sequence[Point]) -> dict[tuple[str, str], Point]:
    """Return the point with the fewest cores of each line."""
    found: dict[tuple[str, str], Point] = {}
    for point in sorted(points, key=cores, reverse=True):
        found[point.sweep, scheduler(point)] = point
    return found


def _draw_panel(axes: Axes, found: list[Point], kind: Kind, names: list[str]) -> None:
    firsts = _firsts(found)
    for number, name in enumerate(names):
        line = sorted((point for point in found if scheduler(point) == name), key=cores)
        if not line:
            continue
        first = firsts[line[0].sweep, name]
        values = [kind.value(first, point) for point in line]
        spreads = [
            [abs(value - value * point.median_s / time) for time in (max(point.times_s), min(point.times_s))]
            for value, point in zip(values, line, strict=True)
        ]
        at = [cores(point) * 1.02 ** (number - len(names) // 2) for point in line]  # lines that coincide stay visible
        looks = style.series(name, number, line[0].simulated)
        axes.errorbar(at, values, yerr=list(zip(*spreads, strict=True)), capsize=2.5, markersize=5, **looks)
    sizes = sorted({cores(point) for point in found})
    axes.plot(sizes, [kind.perfect(size / sizes[0]) for size in sizes], color=style.GREY, linestyle=":", label="perfect")
    style.logarithmic(axes, "x")
    axes.xaxis.set_major_locator(NullLocator())
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xlabel("cores")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, loc="best")


def _table(points: Points, kind: Kind) -> Table:
    table = Table(title=kind.title)
    for name in ("", "scheduler"):
        table.add_column(name)
    for name in ("cores", "instances", "inference s", "smallest to largest", kind.axis):
        table.add_column(name, justify="right")
    firsts = _firsts(points.points)
    for point in points.points:
        times_s = point.times_s
        table.add_row(
            TITLES[point.sweep],
            scheduler(point),
            f"{cores(point):,}",
            f"{point.run.instances:,}",
            style.labelled(f"{point.median_s:.4g}", point.simulated),
            f"{min(times_s):.4g} to {max(times_s):.4g}" if len(times_s) > 1 else "",
            f"{kind.value(firsts[point.sweep, scheduler(point)], point):.2f}",
        )
    return table
