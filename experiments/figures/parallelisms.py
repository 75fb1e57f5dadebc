"""Draws the five parallelisms on the challenge's networks: measured, simulated, and under other assumptions."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from experiments.config.resolve import ConfigError
from experiments.figures.base import bars as _groups
from experiments.figures.base import style
from experiments.figures.base.bars import PARALLELISMS, Groups, grouped, network, scheduler
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame

BASE = "data_then_model"
MEASURED, HERE, PRUNED, SIMULATED = "measured", "simulated_here", "measured_pruned", "simulated"
ASSUMPTIONS, CACHES = "assumptions", "caches"
TITLES = {
    MEASURED: "Measured, all cores here",
    PRUNED: "Measured, dead rows dropped and full columns as vectors",
    SIMULATED: "Simulated cluster",
}
ROWS = (MEASURED, HERE, PRUNED, SIMULATED)
"""Sweeps in the order in which their means are shown."""

CLAIMED = (1.10, 1.65)
"""The paper: data_then_model is 10 to 65 % faster on average than each of the others."""


def by_network(points: Points, sweep: str) -> Groups:
    """Return the points of a sweep by network and scheduler."""
    return grouped(points.of(sweep), network, scheduler)


def by_assumption(points: Points) -> dict[str, Groups]:
    """Return the points under each assumption, by network and scheduler."""
    found = points.of(ASSUMPTIONS)
    names = list(dict.fromkeys(assumption(point) for point in found))
    return {name: grouped([point for point in found if assumption(point) == name], network, scheduler) for name in names}


def assumption(point: Point) -> str:
    """Name what a point assumes."""
    return point.label.partition(", neurons=")[0]


def draw(points: Points) -> Drawing:
    """Draw bars for each network, and the mean ratios to data_then_model under each assumption."""
    groups = {sweep: by_network(points, sweep) for sweep in TITLES if points.of(sweep)}
    if not any(BASE in cell for found in groups.values() for cell in found.cells.values()):
        raise ConfigError(f"experiment {points.name}: no record of scheduler={BASE} to compare with")
    means = _mean_rows(points, groups)
    columns = [[(sweep, found) for sweep, found in groups.items() if (sweep == SIMULATED) is right] for right in (False, True)]
    inches = [[found.n_bars * _groups.BAR_INCHES + 0.6 for _, found in column] for column in columns]
    inches[0].append(0.28 * len(means) + 0.7)
    tallest = max(map(sum, inches))
    figure = style.new_figure(8.5 * sum(map(bool, inches)), tallest + style.LEGEND_INCHES + 1.3)
    grid = figure.add_gridspec(2, sum(map(bool, inches)), height_ratios=[style.LEGEND_INCHES, tallest])
    _groups.legend(figure.add_subplot(grid[0, :]), PARALLELISMS)
    for number, (column, heights) in enumerate(zip(columns, inches, strict=True)):
        if not heights:
            continue
        places = grid[1, number].subgridspec(len(heights), 1, height_ratios=heights)
        panels = [figure.add_subplot(places[row, 0]) for row in range(len(heights))]
        for axes, (sweep, found) in zip(panels, column, strict=False):
            _groups.draw(axes, found, BASE, PARALLELISMS)
            axes.set_title(TITLES[sweep])
            axes.set_xlabel(f"inference time (s, logarithmic); x: times as long as {BASE}")
        if number == 0:
            _draw_means(panels[-1], means)
    style.entitle(figure, "The five parallelisms, kernel csc", points)
    parts = [*groups.items(), *((f"{ASSUMPTIONS}: {name}", found) for name, found in by_assumption(points).items())]
    if points.of(HERE):
        parts.append((HERE, by_network(points, HERE)))
    table = _groups.table(f"The five parallelisms (x {BASE}: times as long)", parts, BASE)
    return Drawing(figure, _data(points, [found for _, found in parts]), table)


def _data(points: Points, groups: list[Groups]) -> pd.DataFrame:
    data = frame(points.points)
    data["assumption"] = [assumption(point) if point.sweep in (ASSUMPTIONS, CACHES) else "" for point in points.points]
    for key in ("memory_bytes", "from_cache"):
        data[f"traffic_{key}"] = [getattr(point.traffic, key, None) for point in points.points]
    data[f"ratio_to_{BASE}"] = _groups.ratio_column(groups, points.points, BASE)
    return data


def _mean_rows(points: Points, groups: dict[str, Groups]) -> list[tuple[str, dict[str, float], bool]]:
    """Return rows of mean ratios: their names, the ratios by scheduler, and whether they are simulated."""
    rows = []
    here = {HERE: by_network(points, HERE)} if points.of(HERE) else {}
    for sweep, found in sorted((groups | here).items(), key=lambda item: ROWS.index(item[0])):
        n = len(found.cells)
        name = f"{sweep.replace('_', ', ')}, {n} network{'s' if n > 1 else ''}"
        rows.append((name, found.mean_ratios(BASE), sweep in (HERE, SIMULATED)))
    return rows + [(name, found.mean_ratios(BASE), True) for name, found in by_assumption(points).items()]


def _draw_means(axes: Axes, rows: list[tuple[str, dict[str, float], bool]]) -> None:
    others = [name for name in PARALLELISMS if name != BASE]
    for row, (_, means, simulated) in enumerate(rows):
        for way, ratio in means.items():
            if way in others:
                looks = style.series(way, PARALLELISMS.index(way), simulated) | {"linestyle": "none", "label": None}
                axes.plot([ratio], [row], markersize=6, **looks)
    axes.axvspan(*CLAIMED, color="#EEEEEE", zorder=0)
    axes.axvline(1, color=style.INK, linewidth=0.8)
    style.logarithmic(axes, "x")
    ticks = [t for t in (0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("mean over networks of the ratios; shaded: the paper's claim, 1.10 to 1.65")
    axes.set_title(f"How many times as long as {BASE}, on average")
