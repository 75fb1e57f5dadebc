"""Draws the effect of hashing instances and neurons, and the speed-up of more nodes by time and estimated traffic."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from rich.console import Group
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import bars as _groups
from experiments.figures.base import style
from experiments.figures.base.bars import grouped, network, scheduler
from experiments.figures.base.drawing import Drawing
from experiments.figures.base.scaling import cores
from experiments.records.read import Point, Points, frame

TITLES = {"measured": "Measured, all cores here", "simulated": "Simulated cluster"}
NODES, THREADS, KERNELS = "simulated_nodes", "measured_threads", "simulated_kernels"
BASE = "none"
WAYS = ("none", "input", "layer", "both")


def hashed(point: Point) -> str:
    """Name what a point hashes."""
    return str(point.run.hashing)


def job(point: Point) -> str:
    """Name a point's network and scheduler."""
    return f"{network(point)} {scheduler(point)}"


def lines(points: Points, sweep: str = NODES) -> dict[str, list[dict[str, Any]]]:
    """Return, for each scheduler, a row for each number of nodes (or threads): cores, seconds, speed-up, and the traffic.

    ``traffic_of_all`` is the estimated traffic of all nodes, if all have as much as the busiest, over that of the fewest nodes:
    where it falls below 1, caches hold more of the work, and time may fall more than in proportion.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for point in sorted(points.of(sweep), key=cores):
        row = {"cores": cores(point), "nodes": int(point.run.processes), "seconds": point.median_s}
        if point.traffic is not None:
            row |= {key: getattr(point.traffic, key) for key in ("memory_bytes", "from_cache", "memory_s")}
        found.setdefault(scheduler(point), []).append(row)
    for rows in found.values():
        first = rows[0]
        for row in rows:
            row["speed_up"] = first["seconds"] / row["seconds"]
            row["efficiency"] = row["speed_up"] / (row["cores"] / first["cores"])
            if first.get("memory_bytes"):
                row["traffic_of_all"] = row["memory_bytes"] * row["nodes"] / (first["memory_bytes"] * first["nodes"])
    return found


def by_kernel(points: Points) -> dict[str, dict[str, float]]:
    """Return the seconds of this project's kernels on the most nodes, by kernel and scheduler."""
    found: dict[str, dict[str, float]] = {}
    for point in points.of(KERNELS):
        found.setdefault(point.label.partition(", scheduler=")[0], {})[scheduler(point)] = point.median_s
    return found


def draw(points: Points) -> Drawing:
    """Draw bars for each kind of hashing, and lines over nodes."""
    groups = {sweep: grouped(points.of(sweep), job, hashed) for sweep in TITLES if points.of(sweep)}
    if not groups:
        raise ConfigError(f"experiment {points.name}: none of its points are of the sweeps {', '.join(TITLES)}")
    heights = [style.LEGEND_INCHES, *(found.n_bars * _groups.BAR_INCHES + 0.6 for found in groups.values())]
    over_nodes, over_threads = lines(points), lines(points, THREADS)
    figure = style.new_figure(9.0, sum(heights) + 1.8 + (3.4 if over_nodes else 0))
    grid = figure.add_gridspec(len(heights) + bool(over_nodes), 2, height_ratios=[*heights, *([3.2] if over_nodes else [])])
    _groups.legend(figure.add_subplot(grid[0, :]), WAYS)
    for row, (sweep, found) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(grid[row, :])
        _groups.draw(axes, found, BASE, WAYS)
        axes.set_title(TITLES[sweep])
        axes.set_xlabel("inference time (s, logarithmic); x: times as long as without hashing")
    if over_nodes:
        left, right = (figure.add_subplot(grid[-1, column]) for column in (0, 1))
        _draw_lines(left, over_nodes, over_threads, "efficiency", "efficiency (above 1: super-linear)")
        _draw_lines(right, over_nodes, {}, "traffic_of_all", "estimated traffic of all nodes, of 1 node: 1")
        run = points.of(NODES)[0].run
        left.set_title(f"Nodes of {run.threads} cores, {network(points.of(NODES)[0])}", fontsize=9)
        right.set_title("Below 1: caches hold more", fontsize=9)
    style.entitle(figure, "Hashing", points)
    data = frame(points.points)
    data["hashing"] = [hashed(point) for point in points.points]
    data["ratio_to_none"] = _groups.ratio_column(list(groups.values()), points.points, BASE)
    data["imbalance"] = [point.run.imbalance.busy for point in points.points]
    for key in ("from_cache", "memory_bytes"):
        data[f"traffic_{key}"] = [getattr(point.traffic, key, None) for point in points.points]
    tables = [_groups.table("Hashing (x none: times as long)", list(groups.items()), BASE, "network, scheduler")]
    more = ([_nodes_table(over_nodes)] if over_nodes else []) + ([_kernels_table(points)] if points.of(KERNELS) else [])
    return Drawing(figure, data, Group(*tables, *more))


def _draw_lines(
    axes: Axes, over_nodes: dict[str, list[dict[str, Any]]], over_threads: dict[str, list[dict[str, Any]]], key: str, label: str
) -> None:
    """Draw simulated nodes, and what was measured with threads here, on one axis of cores."""
    sizes = set()
    for simulated, over in ((True, over_nodes), (False, over_threads)):
        for number, (name, rows) in enumerate(over.items()):
            known = [row for row in rows if key in row]
            looks = style.series(name if simulated else f"{name}, threads here", number, simulated)
            axes.plot([row["cores"] for row in known], [row[key] for row in known], **looks)
            sizes |= {row["cores"] for row in known}
    axes.axhline(1, color=style.GREY, linestyle=":")
    style.logarithmic(axes, "x")
    axes.xaxis.set_major_locator(NullLocator())
    axes.set_xticks(sorted(sizes), [f"{size:,}" for size in sorted(sizes)], fontsize=8)
    axes.set_xlabel("cores")
    axes.set_ylabel(label, fontsize=9)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7)


def _nodes_table(over_nodes: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table(title="More nodes (simulated; traffic estimated, of the busiest node)")
    for name in ("scheduler", "nodes", "cores", "inference s", "efficiency", "traffic GB a node", "of all, of 1 node: 1"):
        table.add_column(name, justify="left" if name == "scheduler" else "right")
    for name, rows in over_nodes.items():
        for row in rows:
            known = "memory_bytes" in row
            table.add_row(
                name,
                f"{row['nodes']:,}",
                f"{row['cores']:,}",
                style.labelled(f"{row['seconds']:.4g}", simulated=True),
                f"{row['efficiency']:.2f}",
                f"{row['memory_bytes'] / 1e9:,.2f}" if known else "",
                f"{row['traffic_of_all']:.2f}" if "traffic_of_all" in row else "",
            )
    return table


def _kernels_table(points: Points) -> Table:
    nodes = points.of(KERNELS)[0].run.processes
    table = Table(title=f"This project's kernels on {nodes} nodes (simulated)")
    for name in ("kernel", "scheduler", "inference s"):
        table.add_column(name, justify="right" if name == "inference s" else "left")
    for kernel, times in by_kernel(points).items():
        for name, seconds in times.items():
            table.add_row(kernel, name, style.labelled(f"{seconds:.4g}", simulated=True))
    return table
