"""Draws Gantt charts of traces: one bar a worker shows when it works, waits or has nothing left to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sparsednn.errors import OptionError
from sparsednn.results.trace import Span, Trace, WorkerId
from sparsednn.system.files import atomic_path

DPI = 120
WIDTH_INCHES = 12.0
MOST_WITH_DETAIL = 40
"""Up to so many workers, each has its label, and bars have texts and hatches; above, bars are too thin for them."""

_HEIGHT_INCHES, _MOST_HEIGHT_INCHES = 0.42, 10.0  # of one bar, and of all
_HEADER_INCHES, _FOOTER_INCHES = 0.95, 1.2
_FONT_POINTS = 8.5
_SIMULATED_COLOUR = "#D55E00"


@dataclass(frozen=True, slots=True)
class _Style:
    """How spans of a kind look: in colours that the colour-blind tell apart, of different lightness, and some hatched."""

    text: str
    colour: str
    hatch: str = ""
    ink: str = "black"
    bottom: float = 0.0  # the part of the bar that is filled, from 0 to 1
    top: float = 1.0


STYLES = {
    "data": _Style("own rows (data parallelism)", "#0072B2", ink="white"),
    "team": _Style("working in a team (model parallelism)", "#E69F00"),
    "barrier": _Style("waits for the team", "#000000", ink="white", top=0.25),
    "fetch": _Style("takes row groups from processes", "#CC79A7", hatch="xx"),
    "probe": _Style("asks for helpers", "#882255", bottom=0.7),
    "wait": _Style("asleep, can be recruited", "#BFE3F7", hatch=".."),
    "idle": _Style("nothing left to do", "#F2F2F2", hatch="///"),
}


def draw_gantt(trace: Trace, path: Path) -> None:
    """Draw a trace as a Gantt chart, a PNG file that is written atomically.

    Raises
    ------
    ValueError
        If the trace is not valid or takes no time, or the file's name does not end in ``.png``.
    OSError
        If the file cannot be written.
    """
    if path.suffix != ".png":
        raise OptionError(f"{path}: Gantt charts are PNG files; give a name that ends in .png")
    figure = gantt_figure(trace)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def gantt_figure(trace: Trace) -> Figure:
    """Return the Gantt chart of a trace as a figure, for a notebook or for another format.

    Raises
    ------
    ValueError
        If the trace is not valid or takes no time.
    """
    trace.validate()
    if trace.elapsed_s == 0:
        raise OptionError(f"nothing to draw: the trace has {len(trace.spans)} spans, which take no time")
    workers = trace.workers()
    bars_inches = min(max(len(workers), 2) * _HEIGHT_INCHES, _MOST_HEIGHT_INCHES)
    height = _HEADER_INCHES + bars_inches + _FOOTER_INCHES
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.12, _FOOTER_INCHES / height, 0.86, bars_inches / height))
    unit, per_second = _unit(trace.elapsed_s)
    _prepare_axes(axes, workers, trace.elapsed_s * per_second, unit)
    _draw_bars(axes, trace, per_second)
    if len(workers) <= MOST_WITH_DETAIL:
        _write_into_bars(axes, trace, per_second)
    _write_heading(figure, trace, height)
    _draw_legend(figure, trace)
    return figure


def draw_chart(axes: Axes, trace: Trace, end_s: float) -> None:
    """Draw the bars of a trace alone into an axes that ends at `end_s`, seconds."""
    unit, per_second = _unit(end_s)
    _prepare_axes(axes, trace.workers(), end_s * per_second, unit)
    _draw_bars(axes, trace, per_second)


def legend_handles(kinds: Iterable[str]) -> list[Patch]:
    """Return a patch for each of some kinds of spans, with what it means."""
    return [_patch(kind, style.text, detailed=True) for kind, style in STYLES.items() if kind in set(kinds)]


def _unit(elapsed_s: float) -> tuple[str, float]:
    """Return the unit in which a time is a readable number, and how many of them a second has."""
    return next(((unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e3)) if elapsed_s * scale >= 1), ("µs", 1e6))


def _time(seconds: float, elapsed_s: float) -> str:
    """Return a time in the unit that suits the whole run, with about three digits."""
    unit, per_second = _unit(elapsed_s)
    value = seconds * per_second
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def _percent(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.0005 else f"{share * 100:.1f} %"


def _prepare_axes(axes: Axes, workers: list[WorkerId], end: float, unit: str) -> None:
    """Set limits, name the workers from the top down, and part the processes."""
    axes.set_xlim(0, end)
    axes.set_ylim(len(workers) - 0.4, -0.6)
    axes.set_xlabel(f"time since the start ({unit})")
    axes.set_yticks(*_names(workers), fontsize=_FONT_POINTS)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    borders = [row - 0.5 for row in range(1, len(workers)) if workers[row][0] != workers[row - 1][0]]
    for border in borders if len(borders) < MOST_WITH_DETAIL else ():  # more would cover the bars
        axes.axhline(border, color="black", linewidth=0.6, zorder=5)


def _names(workers: list[WorkerId]) -> tuple[list[float], list[str]]:
    """Return where the names of workers go, and the names; with too many workers, those of some, or of the processes."""
    processes = {process: [row for row, worker in enumerate(workers) if worker[0] == process] for process, _ in workers}
    if len(workers) > MOST_WITH_DETAIL and len(processes) > 1:
        step = -(-len(processes) // MOST_WITH_DETAIL)
        shown = list(processes)[::step]
        return [sum(processes[p]) / len(processes[p]) for p in shown], [f"process {p}" for p in shown]
    rows = range(0, len(workers), -(-len(workers) // MOST_WITH_DETAIL))
    prefix = "process {} worker {}" if len(processes) > 1 else "worker {1}"
    return [float(row) for row in rows], [prefix.format(*workers[row]) for row in rows]


def _draw_bars(axes: Axes, trace: Trace, per_second: float) -> None:
    """Draw all spans of a kind as one collection, so that a large machine is drawn quickly."""
    rows = {worker: row for row, worker in enumerate(trace.workers())}
    detailed = len(rows) <= MOST_WITH_DETAIL
    bar = 0.8 if detailed else 1.0
    by_kind = defaultdict(list)
    for span in trace.spans:
        by_kind[span.kind].append(span)
    for order, (kind, style) in enumerate(STYLES.items()):
        spans = by_kind[kind]
        boxes = []
        for span in spans:
            low = rows[span.process, span.worker] + bar / 2 - style.bottom * bar
            high = rows[span.process, span.worker] + bar / 2 - style.top * bar
            start, stop = span.start_s * per_second, span.stop_s * per_second
            boxes.append([(start, low), (stop, low), (stop, high), (start, high)])
        hatch = style.hatch if detailed else ""
        zorder = 2 + order / 10
        axes.add_collection(
            PolyCollection(boxes, facecolor=style.colour, edgecolor="#999999", linewidth=0, hatch=hatch, zorder=zorder)
        )
        if kind == "probe":  # far shorter than a pixel: a line shows each all the same
            lines = [[box[0], box[3]] for box in boxes]
            axes.add_collection(LineCollection(lines, colors=style.colour, linewidths=1.5, zorder=zorder))


def _write_into_bars(axes: Axes, trace: Trace, per_second: float) -> None:
    """Say in the bars, where there is room, which row group is worked on, and what those do that work on none."""
    leaders = {(span.process, span.row_group): span.worker for span in trace.spans if span.kind == "data"}
    inches_per_second = WIDTH_INCHES * axes.get_position().width / trace.elapsed_s
    for row, worker in enumerate(trace.workers()):
        mine = [span for span in trace.spans if (span.process, span.worker) == worker and span.kind not in ("barrier", "probe")]
        for _, same in groupby(mine, key=lambda span: (span.kind, span.row_group)):
            span = max(same, key=lambda span: span.duration_s)
            text = _fitting(_texts(span, leaders), span.duration_s * inches_per_second)
            style = STYLES[span.kind]
            middle = (span.start_s + span.stop_s) / 2 * per_second
            box = {"facecolor": style.colour, "edgecolor": "none", "pad": 1.0} if style.hatch and text else None
            axes.text(middle, row, text, color=style.ink, fontsize=_FONT_POINTS, ha="center", va="center", bbox=box, zorder=4)


def _texts(span: Span, leaders: dict[tuple[int, int], int]) -> tuple[str, ...]:
    """Return what may be written into a span, longest first; the worker that has run a row group alone leads its team."""
    if span.kind in ("wait", "idle"):
        return (STYLES[span.kind].text, {"wait": "asleep", "idle": "nothing left"}[span.kind])
    if span.row_group < 0:
        return ()
    helps = span.kind == "team" and leaders.get((span.process, span.row_group), span.worker) != span.worker
    group = f"row group {span.row_group}"
    return (f"helps with {group}", f"helps {span.row_group}") if helps else (group, str(span.row_group))


def _fitting(texts: tuple[str, ...], inches: float) -> str:
    """Return the first text that is not wider than that; a letter is about half as wide as high."""
    return next((text for text in texts if (len(text) * 0.56 + 1) * _FONT_POINTS / 72 <= inches), "")


def _write_heading(figure: Figure, trace: Trace, height: float) -> None:
    """Write what was run, how long it took, how busy the workers were, and in large letters if it was simulated."""
    elapsed, shares, n_workers = trace.elapsed_s, trace.shares(), len(trace.workers())
    title = f"scheduler {trace.metadata['scheduler']}, kernel {trace.metadata['kernel']}: {_time(elapsed, elapsed)}"
    size = min(15.0, 800 / len(title))  # a long one is to leave room for what stands right of it
    busy = f"busy {(shares['data'] + shares['team']) * 100:.0f} % of {n_workers} workers x {_time(elapsed, elapsed)}"
    without_work = [span.start_s for span in trace.spans if span.kind in ("wait", "idle") and span.duration_s > 0]
    if without_work:  # with the end of the run, this is the straggler effect in two numbers
        busy += f"; the first worker runs out of rows of its own after {_time(min(without_work), elapsed)}"
    figure.text(0.12, 1 - 0.42 / height, title, fontsize=size, weight="bold", parse_math=False)
    figure.text(0.12, 1 - 0.72 / height, busy, fontsize=11)
    if trace.metadata["simulated"]:
        figure.text(0.98, 1 - 0.48 / height, "SIMULATED", fontsize=24, weight="bold", color=_SIMULATED_COLOUR, ha="right")


def _draw_legend(figure: Figure, trace: Trace) -> None:
    """Explain the kinds that there are, each with its share of the workers' time."""
    shares, detailed = trace.shares(), len(trace.workers()) <= MOST_WITH_DETAIL
    kinds = {span.kind for span in trace.spans}
    handles = [
        _patch(kind, f"{style.text}: {_percent(shares[kind])}", detailed) for kind, style in STYLES.items() if kind in kinds
    ]
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, fontsize=9.5, handlelength=2.6, handleheight=1.1)


def _patch(kind: str, label: str, detailed: bool) -> Patch:
    style = STYLES[kind]
    return Patch(
        facecolor=style.colour, edgecolor="#999999", hatch=style.hatch if detailed else "", linewidth=0.5, label=label
    )  # fmt: skip
