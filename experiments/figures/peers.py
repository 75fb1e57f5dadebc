"""The same job with other libraries."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Points, frame

ROOM = 8.0  # right of the longest bar, for the text beside it
SWEEPS = ("numba", "libraries", "reference")


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
    record = best.record
    job = f"{record['neurons']:,} x {record['layers']:,}, {record['instances']:,} instances"
    style.entitle(figure, f"Other libraries: {job}", points)
    data = frame(found)
    data["ratio_to_fastest"] = data["seconds_median"] / best.median_s
    return Drawing(figure, data, _table(points, best.median_s))


def _table(points: Points, best_s: float) -> Table:
    table = Table(title="The same job with other libraries")
    for name in ("", "backend"):
        table.add_column(name)
    for name in ("inference s", "smallest to largest", "x fastest"):
        table.add_column(name, justify="right")
    for point in points.points:
        times_s = point.times_s
        spread = f"{min(times_s):.4g} to {max(times_s):.4g}"
        backend = f"{point.record['backend']} {point.record['kernel']}"
        table.add_row(escape(point.label), backend, f"{point.median_s:.4g}", spread, f"{point.median_s / best_s:.2f}")
    return table
