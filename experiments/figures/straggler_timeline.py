"""Draws every thread's time: Gantt charts of the points' traces, one below the other."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.figures.base.gantt import draw_chart, legend_handles
from experiments.records.files import TRACE
from experiments.records.read import Point, Points, frame
from sparsednn.results.trace import KINDS, Trace, read_trace

TITLES = {"measured": "measured, all cores here", "simulated": "simulated node"}


def trace_of(point: Point) -> Trace:
    """Return the trace of a point, read beside its first record if it does not come with it.

    Raises
    ------
    ConfigError
        If there is none, or it is malformed.
    """
    if point.trace is not None:
        return point.trace
    folder = point.folders[0]
    try:
        return read_trace(folder / TRACE)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: the trace of this point cannot be read: {error}; run the experiment again") from error


def moved_row_groups(trace: Trace) -> tuple[int, int]:
    """Return how many row groups went on without the worker that had them first, and how many there are."""
    owners: dict[tuple[int, int], int] = {}
    teams: dict[tuple[int, int, int], set[int]] = {}
    for span in sorted(trace.spans, key=lambda span: span.start_s):
        group = (span.process, span.row_group)
        if span.kind == "data":
            owners.setdefault(group, span.worker)
            teams.setdefault((*group, span.first_layer), set()).add(span.worker)
        elif span.kind == "team":
            teams.setdefault((*group, span.first_layer), set()).add(span.worker)
    moved = {group[:2] for group, workers in teams.items() if owners.get(group[:2], min(workers)) not in workers}
    return len(moved), len({group[:2] for group in teams})


def draw(points: Points) -> Drawing:
    """Draw a chart for each point; those of the same sweep have the same axis."""
    found = [(point, trace_of(point)) for point in points.points]
    charts = [0.28 * min(max(len(trace.workers()), 2), 28) ** 0.8 + 0.85 for _, trace in found]
    heights = [2 * style.LEGEND_INCHES, *charts]
    figure = style.new_figure(10.0, sum(heights) + 1.5)
    panels = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    style.legend_row(panels[0], legend_handles({span.kind for _, trace in found for span in trace.spans}), 3)
    for axes, (point, trace) in zip(panels[1:], found, strict=True):
        end_s = max(other.elapsed_s for same, other in found if same.sweep == point.sweep)
        draw_chart(axes, trace, end_s)
        axes.set_title(f"{point.run.scheduler} ({TITLES.get(point.sweep, point.sweep)}): {_said(trace)}", fontsize=10)
    run = found[0][0].run
    job = f"{run.neurons:,} x {run.layers:,}, {run.instances:,} instances"
    style.entitle(figure, f"Stragglers, and their cure: {job}", points, "one run each")
    data = frame(points.points)
    for kind in KINDS:
        data[f"{kind}_share"] = [trace.shares()[kind] for _, trace in found]
    return Drawing(figure, data, _table(found))


def _said(trace: Trace) -> str:
    shares = trace.shares()
    return f"{style.time_text(trace.elapsed_s)}, busy {100 * (shares['data'] + shares['team']):.0f} %"


def _table(found: list[tuple[Point, Trace]]) -> Table:
    table = Table(title="Shares of the workers' time (%)")
    for name in ("", "point"):
        table.add_column(name)
    for name in ("elapsed s", *KINDS):
        table.add_column(name, justify="right")
    for point, trace in found:
        shares = [f"{100 * trace.shares()[kind]:.1f}" for kind in KINDS]
        elapsed = style.labelled(f"{trace.elapsed_s:.4g}", point.simulated)
        table.add_row(escape(TITLES.get(point.sweep, point.sweep)), escape(point.label), elapsed, *shares)
    return table
