"""Draws the shares of the workers' time that waiting and deciding take."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from rich.markup import escape
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.bars import network, scheduler
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame

PARTS = {
    "enlist": "reports that it is free",
    "probe": "asks for helpers in vain",
    "recruit": "recruits",
    "meet": "meets its team (barriers)",
    "lock": "waits for the lock",
    "wait": "asleep, can be recruited",
    "idle": "nothing left to do",
}
TITLES = {"measured": "Measured, all cores here", "simulated": "Simulated cluster"}


def shares(point: Point) -> dict[str, float]:
    """Return which share of all workers' time went into each part, from 0 to 1; over all records of the point."""
    workers = [worker for run in point.runs for worker in run.workers]
    whole_s = sum(run.seconds.inference_median * len(run.workers) for run in point.runs)
    return {part: sum(float(getattr(worker, f"{part}_s")) for worker in workers) / whole_s for part in PARTS}


def draw(points: Points) -> Drawing:
    """Draw a stacked bar for each point."""
    sweeps = {sweep: found for sweep in TITLES if (found := points.of(sweep))}
    if not sweeps:
        raise ConfigError(f"experiment {points.name}: none of its points are of the sweeps {', '.join(TITLES)}")
    heights = [2 * style.LEGEND_INCHES, *(0.3 * (len(found) + 1) for found in sweeps.values())]
    figure = style.new_figure(9.0, sum(heights) + 1.7)
    panels = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    handles = [Patch(**style.bar(number, simulated=False), label=text) for number, text in enumerate(PARTS.values())]
    style.legend_row(panels[0], handles, 4)
    for axes, (sweep, found) in zip(panels[1:], sweeps.items(), strict=True):
        _draw_bars(axes, found)
        axes.set_title(TITLES[sweep])
    panels[-1].set_xlabel("share of all workers' time that is not spent on layers (%)")
    style.entitle(figure, "What the mechanisms between threads take", points, "means over workers and runs")
    data = frame(points.points)
    for part in PARTS:
        data[f"{part}_share"] = [shares(point)[part] for point in points.points]
        data[f"{part}_ms_per_worker"] = [shares(point)[part] * 1e3 * point.median_s for point in points.points]
    return Drawing(figure, data, _table(points))


def _draw_bars(axes: Axes, found: list[Point]) -> None:
    for row, point in enumerate(found):
        start = 0.0
        for number, share in enumerate(shares(point).values()):
            axes.barh(row, 100 * share, left=100 * start, height=0.7, **style.bar(number, point.simulated))
            start += share
        axes.text(100 * start, row, f"  {_amount(start)}", va="center", size=8)
    axes.set_yticks(range(len(found)), [f"{network(point)} {scheduler(point)}" for point in found], fontsize=8)
    axes.set_xlim(0, 118 * max(sum(shares(point).values()) for point in found))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _amount(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _table(points: Points) -> Table:
    table = Table(title="Milliseconds of a worker, on average")
    for name in ("", "network", "scheduler"):
        table.add_column(name)
    for name in ("inference ms", *PARTS):
        table.add_column(name, justify="right")
    for point in points.points:
        parts_ms = [f"{share * point.median_s * 1e3:.3g}" for share in shares(point).values()]
        name = escape(style.labelled(point.sweep, point.simulated and point.sweep != style.SIMULATED))
        table.add_row(name, network(point), scheduler(point), f"{point.median_s * 1e3:.4g}", *parts_ms)
    return table
