"""Draws the strategies of data_then_model for recruiting helpers, beside data parallelism."""

from __future__ import annotations

from experiments.config.resolve import ConfigError
from experiments.figures.base import bars as _groups
from experiments.figures.base import style
from experiments.figures.base.bars import Groups, grouped, network
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame

TITLES = {"measured": "Measured, all cores here", "simulated": "Simulated cluster"}
BASE = "data"


def strategy(point: Point) -> str:
    """Name how a point recruits."""
    options = point.run.scheduler_options
    if point.run.scheduler != "data_then_model":
        return str(point.run.scheduler)
    later = f", from {options['recruiting_ratio']:g} of the layers on" if options["recruiting_ratio"] else ""
    return f"{options['strategy']}{later}"


def by_network(points: Points, sweep: str) -> Groups:
    """Return the points of a sweep by network and strategy."""
    return grouped(points.of(sweep), network, strategy)


def draw(points: Points) -> Drawing:
    """Draw bars for each network, measured and simulated."""
    groups = {sweep: by_network(points, sweep) for sweep in TITLES if points.of(sweep)}
    if not groups:
        raise ConfigError(f"experiment {points.name}: none of its points are of the sweeps {', '.join(TITLES)}")
    ways = list(dict.fromkeys(way for found in groups.values() for way in found.ways))
    heights = [style.LEGEND_INCHES, *(found.n_bars * _groups.BAR_INCHES + 0.5 for found in groups.values())]
    figure = style.new_figure(9.0, sum(heights) + 1.8)
    panels = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    _groups.legend(panels[0], ways)
    for axes, (sweep, found) in zip(panels[1:], groups.items(), strict=True):
        _groups.draw(axes, found, BASE, ways)
        axes.set_title(TITLES[sweep])
        axes.set_xlabel("inference time (s, logarithmic); x: times as long as data parallelism")
    style.entitle(figure, "Who recruits helpers (data_then_model)", points)
    data = frame(points.points)
    data["strategy"] = [strategy(point) for point in points.points]
    data["ratio_to_data"] = _groups.ratio_column(list(groups.values()), points.points, BASE)
    return Drawing(figure, data, _groups.table("Who recruits helpers (x data: times as long)", list(groups.items()), BASE))
