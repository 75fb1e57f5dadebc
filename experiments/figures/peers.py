"""Draws the same job with other libraries: times, and the ratio of the best library to ours, round by round."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame
from experiments.records.statistics import Interval, median_interval, ratios_in_turn

ROOM = 8.0  # right of the longest bar, for the text beside it
OURS, LIBRARIES = "numba", "libraries"
SWEEPS = (OURS, LIBRARIES, "reference")


def best_library(points: Points) -> Point | None:
    """Return the library with the smallest median, if there is any."""
    return min(points.of(LIBRARIES), key=lambda point: point.median_s, default=None)


def ratio_to_ours(ours: Point, library: Point | None) -> Interval | None:
    """Return how many times as long a library takes as a point of ours, which comes before it in each round."""
    ratios = [] if library is None or ours.sweep != OURS else ratios_in_turn(ours, library)
    return median_interval([1 / ratio for ratio in ratios]) if ratios else None


def draw(points: Points) -> Drawing:
    """Draw a bar for each library, with how many times as long it takes as the fastest."""
    found = list(points.points)
    best = min(found, key=lambda point: point.median_s)
    figure = style.new_figure(9.0, 1.8 + 0.4 * len(found))
    axes = figure.subplots()
    for row, point in enumerate(found):
        number = SWEEPS.index(point.sweep) if point.sweep in SWEEPS else len(SWEEPS)
        axes.barh(row, point.median_s, height=0.7, **style.bar(number, point.simulated))
        ratio = "" if point is best else f", {point.median_s / best.median_s:.3g} x as long"
        axes.text(max(point.times_s), row, f"  {style.time_text(point.median_s)}{ratio}", va="center", size=9)
    medians = [point.median_s for point in found]
    axes.errorbar(medians, range(len(found)), xerr=style.spread(found), fmt="none", color="black", capsize=2.5)
    axes.set_yticks(range(len(found)), [point.label for point in found])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    style.limits_around(axes, found, ROOM)
    axes.set_xlabel("inference time (s, logarithmic)")
    run = best.run
    job = f"{run.neurons:,} x {run.layers:,}, {run.instances:,} instances"
    style.entitle(figure, f"Other libraries: {job}", points)
    data = frame(found)
    data["ratio_to_fastest"] = data["seconds_median"] / best.median_s
    library = best_library(points)
    intervals = [ratio_to_ours(point, library) for point in found]
    data["best_library"] = [None if interval is None or library is None else library.label for interval in intervals]
    for place, name in enumerate(("best_library_ratio", "best_library_ratio_low", "best_library_ratio_high")):
        data[name] = [None if interval is None else interval[place] for interval in intervals]
    return Drawing(figure, data, _table(points, best.median_s, intervals))


def _table(points: Points, best_s: float, intervals: Sequence[Interval | None]) -> Table:
    table = Table(title="The same job with other libraries; best library / ours: medians round by round, with 95 % intervals")
    for name in ("", "backend"):
        table.add_column(name)
    for name in ("inference s", "smallest to largest", "x fastest", "best library / this"):
        table.add_column(name, justify="right")
    for point, interval in zip(points.points, intervals, strict=True):
        times_s = point.times_s
        spread = f"{min(times_s):.4g} to {max(times_s):.4g}"
        ratio = "" if interval is None else "{:.2f} ({:.2f} to {:.2f})".format(*interval)
        backend = f"{point.run.backend} {point.run.kernel}"
        table.add_row(escape(point.label), backend, f"{point.median_s:.4g}", spread, f"{point.median_s / best_s:.2f}", ratio)
    return table
