"""What the mechanisms between threads take: the shares of the workers' time, of every kind of waiting and deciding."""

from __future__ import annotations

from matplotlib.axes import Axes
from rich.markup import escape
from rich.table import Table

from experiments import style
from experiments.drawing import Drawing
from experiments.figures._groups import network, scheduler
from experiments.records import Point, Points, frame
from sparsednn.config import ConfigError

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
    workers = [worker for record in point.records for worker in record["workers"]]
    whole_s = sum(record["seconds"]["inference_median"] * len(record["workers"]) for record in point.records)
    return {part: sum(float(worker[f"{part}_s"]) for worker in workers) / whole_s for part in PARTS}


def draw(points: Points) -> Drawing:
    """Draw a stacked bar for each point."""
    sweeps = {sweep: found for sweep in TITLES if (found := points.of(sweep))}
    if not sweeps:
        raise ConfigError(f"experiment {points.name}: none of its points are of the sweeps {', '.join(TITLES)}")
    figure = style.new_figure(9.0, 2.0 + 0.3 * sum(len(found) + 2 for found in sweeps.values()))
    ratios = [len(found) + 1 for found in sweeps.values()]
    panels = figure.subplots(len(sweeps), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": ratios})[:, 0]
    for axes, (sweep, found) in zip(panels, sweeps.items(), strict=True):
        _draw_bars(axes, found)
        axes.set_title(style.labelled(TITLES[sweep], found[0].simulated))
    panels[-1].set_xlabel("share of all workers' time that is not spent on layers (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    style.entitle(figure, "What the mechanisms between threads take", points, "means over workers and runs")
    data = frame(points.points)
    for part in PARTS:
        data[f"{part}_share"] = [shares(point)[part] for point in points.points]
        data[f"{part}_ms_per_worker"] = [shares(point)[part] * 1e3 * point.median_s for point in points.points]
    return Drawing(figure, data, _table(points))


def _draw_bars(axes: Axes, found: list[Point]) -> None:
    for row, point in enumerate(found):
        start = 0.0
        for number, (part, share) in enumerate(shares(point).items()):
            looks = style.bar(number, point.simulated) | {"label": PARTS[part] if row == 0 else None}
            axes.barh(row, 100 * share, left=100 * start, height=0.7, **looks)
            start += share
        axes.text(100 * start, row, f"  {_amount(start)}", va="center", size=8)
    axes.set_yticks(range(len(found)), [f"{network(point)} {scheduler(point)}" for point in found], fontsize=8)
    axes.set_xlim(0, 112)
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
