"""Draws an interactive timeline of traced runs as HTML that works offline: bars to zoom into, each with a text."""

from __future__ import annotations

import plotly.graph_objects as go

from experiments.figures.base.gantt import STYLES
from experiments.figures.base.style import labelled
from experiments.figures.straggler_timeline import TITLES, trace_of
from experiments.records.read import Point, Points
from sparsednn.results.trace import Span, Trace

ROW_PIXELS, MARGIN_PIXELS = 22, 220
ELEMENT = "timeline"


def timeline(points: Points) -> str:
    """Return an HTML element, with the library that it needs inside.

    Raises
    ------
    ConfigError
        If a trace cannot be read.
    """
    traces = [(point, trace_of(point)) for point in points.points]
    figure = go.Figure()
    kinds = [kind for kind in STYLES if any(span.kind == kind for _, trace in traces for span in trace.spans)]
    shown = next((n for n, (point, _) in enumerate(traces) if point.run.scheduler == "data_then_model"), 0)
    for number, (_, trace) in enumerate(traces):
        for kind in kinds:
            figure.add_bar(**_bars(trace, kind), visible=number == shown)
    buttons = [
        {
            "label": _name(point),
            "method": "update",
            "args": [
                {"visible": [other == number for other in range(len(traces)) for _ in kinds]},
                {"height": _height(trace), "yaxis.categoryarray": _names(trace)},
            ],
        }
        for number, (point, trace) in enumerate(traces)
    ]
    trace = traces[shown][1]
    figure.update_layout(
        barmode="overlay", height=_height(trace), margin={"l": 70, "r": 10, "t": 70, "b": 110}, template="plotly_white",
        xaxis={"ticksuffix": " s"},
        yaxis={"title": "process.worker", "autorange": "reversed", "categoryorder": "array", "categoryarray": _names(trace)},
        legend={"orientation": "h", "y": 0, "yref": "container", "yanchor": "bottom"},
        updatemenus=[{"buttons": buttons, "active": shown, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}],
    )  # fmt: skip
    config = {"responsive": True, "displaylogo": False, "scrollZoom": False}
    return str(figure.to_html(full_html=False, include_plotlyjs=True, include_mathjax=False, div_id=ELEMENT, config=config))


def _name(point: Point) -> str:
    return labelled(f"{point.run.scheduler}, {TITLES.get(point.sweep, point.sweep)}", point.simulated)


def _names(trace: Trace) -> list[str]:
    return [_worker(process, worker) for process, worker in trace.workers()]


def _worker(process: int, worker: int) -> str:
    return f"{process}.{worker}"


def _height(trace: Trace) -> int:
    return MARGIN_PIXELS + ROW_PIXELS * max(len(trace.workers()), 4)


def _bars(trace: Trace, kind: str) -> dict[str, object]:
    """Return the bars of all spans of a kind, as Plotly takes them."""
    spans = [span for span in trace.spans if span.kind == kind]
    style = STYLES[kind]
    return {
        "base": [round(span.start_s, 9) for span in spans],
        "x": [round(span.duration_s, 9) for span in spans],
        "y": [_worker(span.process, span.worker) for span in spans],
        "orientation": "h",
        "name": style.text,
        "marker": {"color": style.colour, "pattern": {"shape": "/" if style.hatch else ""}},
        "width": 0.3 if kind in ("barrier", "probe") else 0.8,
        "text": [_said(span) for span in spans],
        "textposition": "none",
        "hovertemplate": "%{text}<extra>worker %{y}</extra>",
    }


def _said(span: Span) -> str:
    what = f"{STYLES[span.kind].text}<br>{span.start_s:.6f} to {span.stop_s:.6f} s ({span.duration_s * 1e3:.3f} ms)"
    if span.row_group < 0:
        return what
    layers = f", layers {span.first_layer + 1} to {span.last_layer}" if span.last_layer > span.first_layer >= 0 else ""
    done = f"<br>{span.multiply_adds:,} multiply-adds" if span.multiply_adds else ""
    return f"{what}<br>row group {span.row_group}{layers}{done}"
