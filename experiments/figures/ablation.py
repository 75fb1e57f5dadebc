"""Draws the gain of each optimisation: times with optimisations switched on one after the other, and with each left out."""

from __future__ import annotations

from matplotlib.axes import Axes
from rich.markup import escape
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame

CUMULATIVE, LEFT_OUT = "cumulative", "left_out"
TITLES = {CUMULATIVE: "Switched on one after the other", LEFT_OUT: "All but one"}
_ROOM = 8.0  # right of the longest bar, for the text beside it


def draw(points: Points) -> Drawing:
    """Draw bars, logarithmic in time, with each point's ratio to the paper's algorithms."""
    base = _base(points)
    sweeps = {sweep: found for sweep in TITLES if (found := points.of(sweep))}
    figure = style.new_figure(9.0, 1.6 + 0.36 * sum(len(found) + 2 for found in sweeps.values()))
    panels = figure.subplots(
        len(sweeps), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [len(found) for found in sweeps.values()]}
    )[:, 0]
    for number, (axes, (sweep, found)) in enumerate(zip(panels, sweeps.items(), strict=True)):
        _draw_bars(axes, found, base, number)
        axes.set_title(TITLES[sweep])
    style.limits_around(panels[-1], points.points, _ROOM)
    panels[-1].set_xlabel("inference time (s, logarithmic)")
    run = base.run
    job = f"{run.neurons:,} neurons x {run.layers:,} layers, {run.instances:,} instances"
    style.entitle(figure, f"What each optimisation brings: {job}", points)
    data = frame(points.points)
    data["ratio_to_paper"] = base.median_s / data["seconds_median"]
    return Drawing(figure, data, _table(points, base))


def _base(points: Points) -> Point:
    """Return the point that all are compared with: the first of the cumulative ones, if it did not fail."""
    found = points.of(CUMULATIVE)
    switches = (found[0].record.config or {})["optimize"] if found else {}
    if {switches.get(key) for key in ("rows", "columns")} != {"none"} or switches.get("order") != "given":
        raise ConfigError(
            f"experiment {points.name}: there is no record of optimize=paper to compare with; did that point fail?"
        )
    return found[0]


def _draw_bars(axes: Axes, found: list[Point], base: Point, number: int) -> None:
    for row, point in enumerate(found):
        axes.barh(row, point.median_s, height=0.7, **style.bar(number, point.simulated))
        text = f"  {style.time_text(point.median_s)}, {_ratio(point, base)}"
        axes.text(max(point.times_s), row, style.labelled(text, point.simulated), va="center", size=9)
    axes.errorbar(
        [point.median_s for point in found], range(len(found)), xerr=style.spread(found), fmt="none", color="black", capsize=2.5
    )
    axes.set_yticks(range(len(found)), [point.label for point in found])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _table(points: Points, base: Point) -> Table:
    table = Table(title="What each optimisation brings (x paper: how many times as fast as the first row)")
    table.add_column("")
    table.add_column("optimisations")
    for name in ("inference s", "smallest to largest", "x paper", "multiply-adds e9"):
        table.add_column(name, justify="right")
    for sweep, title in TITLES.items():
        for number, point in enumerate(points.of(sweep)):
            times_s = point.times_s
            table.add_row(
                "" if number else title,
                escape(point.label),
                style.labelled(f"{point.median_s:.3f}", point.simulated),
                f"{min(times_s):.3f} to {max(times_s):.3f}",
                f"{base.median_s / point.median_s:,.2f}",
                f"{point.run.performed_edges / 1e9:,.3f}",
            )
        table.add_section()
    return table


def _ratio(point: Point, base: Point) -> str:
    return "1 x" if point is base else f"{base.median_s / point.median_s:,.3g} x as fast"
