"""Draws the roofline: multiply-adds a second against multiply-adds per byte, roofs as lines, layers as points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.point import benchmark_figures
from experiments.records.read import Points
from experiments.roofline.rates import Figures, best_median, joined, levels
from experiments.roofline.table import tables, threads_name
from sparsednn.errors import OptionError

STRIDE = 128
"""Instances in the blocks that are drawn: the backend's own choice. All others are in the table."""

TITLE = "What the dense-block kernel reaches of what the machine can do"

Limits = tuple[tuple[float, float], tuple[float, float]]


def draw(points: Points) -> Drawing:
    """Draw the roofline that records of the benchmark hold; several runs of it are taken together."""
    found = [figures for record in points.records if (figures := benchmark_figures(record, "roofline")) is not None]
    if len(found) < len(points.records):
        raise ConfigError(f"experiment {points.name}: its records hold no roofline; only a benchmark of that name makes them")
    point = points.points[0]
    try:
        figures = joined(found)
        figure = roofline_figure(figures)
    except ValueError as error:
        raise ConfigError(f"experiment {points.name}: {error}") from error
    style.entitle(
        figure, TITLE, points, f"medians of {figures['rounds']} rounds, lines from end to end of their 95 % intervals"
    )
    data = pd.DataFrame(_rows(figures))
    data.insert(0, "sweep", point.sweep)
    data.insert(1, "point", point.label)
    return Drawing(figure, data, tables(figures))


def roofline_figure(figures: Figures) -> Figure:
    """Return the figure: one panel for each number of threads."""
    threads, kernels = _threads(figures), _drawn(figures)
    if not threads or not kernels:
        raise OptionError(f"nothing to draw: the record has {len(figures['rates'])} rates and {len(kernels)} layers")
    figure = style.new_figure(5.6 * len(threads) + 3.0, 6.2)
    names = list(dict.fromkeys(case["name"] for case in kernels))
    limits = _limits(figures, kernels, threads)
    panels = figure.subplots(1, len(threads), sharey=True, squeeze=False)[0]
    for axes, n_threads in zip(panels, threads, strict=True):
        _draw_roofs(axes, figures["rates"], n_threads, limits)
        _draw_kernels(axes, [case for case in kernels if case["threads"] == n_threads], names)
        axes.set_title(threads_name(n_threads))
        axes.set_xlabel("multiply-adds per byte from the level that limits")
    panels[0].set_ylabel("multiply-adds a second (1e9)")
    figure.legend(handles=_legend(names, kernels), loc="outside right upper", fontsize=8.5)
    return figure


def _threads(figures: Figures) -> list[int]:
    return sorted({rate["threads"] for rate in figures["rates"]})


def _drawn(figures: Figures) -> list[Mapping[str, Any]]:
    """Return the layers that are drawn."""
    return [case for case in figures["kernels"] if case["stride"] == STRIDE or case["neurons"] == 0]


def _rows(figures: Figures) -> list[dict[str, Any]]:
    """Return what is drawn, one row for each line and each point; per second."""
    rates, rows = figures["rates"], []
    for n_threads in _threads(figures):
        rows += [
            {"threads": n_threads, "what": "roof", "name": name, "median": best_median(rates, n_threads, name), "unit": unit}
            for name, unit in (("unfused", "multiply-adds"), *((level, "bytes") for level in levels(rates)))
        ]
        for case in _drawn(figures):
            if case["threads"] == n_threads:
                same = {key: case[key] for key in ("name", "median", "low", "high", "neurons", "columns", "stride")}
                ordered = case["this_order"]
                roof = {"roof": ordered["rate"], "limit": ordered["limit"], "intensity": ordered["intensity"]}
                share = {"share_median": ordered["share"]["median"]}
                rows.append({"threads": n_threads, "what": "layer", **same, "unit": "multiply-adds", **roof, **share})
    return rows


def _draw_roofs(axes: Axes, rates: Sequence[Mapping[str, Any]], n_threads: int, limits: Limits) -> None:
    """Draw the arithmetic rate and the bandwidths up to it (a decade is as long on both axes: they rise at 45 degrees)."""
    (left, right), heights = limits
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=heights, aspect="equal")
    axes.set_xticks(*_ticks(left, right))
    axes.set_yticks(*_ticks(*heights))
    axes.minorticks_off()
    axes.grid(visible=True, linewidth=0.6)
    ceiling = best_median(rates, n_threads, "unfused") / 1e9
    axes.plot([left, right], [ceiling, ceiling], color=style.INK, linewidth=1.5)
    text = f"multiply, then add, in registers: {ceiling:.0f}e9/s"
    axes.annotate(text, (right, ceiling), (-4, 4), textcoords="offset points", ha="right", fontsize=8, color=style.INK)
    for number, name in enumerate(levels(rates)):
        bandwidth = best_median(rates, n_threads, name) / 1e9
        dashes, below = ("-", "--", "-.", ":")[number % 4], number >= 2
        axes.plot([left, ceiling / bandwidth], [left * bandwidth, ceiling], color=style.INK, linewidth=1, linestyle=dashes)
        at = ceiling / bandwidth * 0.95 if below else max(left, heights[0] / bandwidth) * 1.06
        axes.annotate(
            f"{name}: {bandwidth:.0f} GB/s",
            (at, at * bandwidth),
            (4, -4) if below else (-2, 2),
            textcoords="offset points",
            fontsize=8,
            color=style.INK,
            rotation=45,
            rotation_mode="anchor",
            va="top" if below else "bottom",
            ha="right" if below else "left",
        )


def _limits(figures: Mapping[str, Any], kernels: Sequence[Mapping[str, Any]], threads: Sequence[int]) -> Limits:
    """Return the ends of both axes: all layers, and the corner that each level's roof makes with the arithmetic rate."""
    rates = figures["rates"]
    ceilings = {n: best_median(rates, n, "unfused") for n in threads}
    corners = [ceilings[n] / best_median(rates, n, name) for n in threads for name in levels(rates)]
    x = corners + [case["this_order"]["intensity"] for case in kernels]
    lowest = min(case["low"] for case in kernels)
    return (min(x) / 1.7, max(x) * 1.4), (lowest / 1.5e9, max(ceilings.values()) * 1.35e-9)


def _ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return 1, 2, 5, 10, ... between the ends of an axis, and how they are written."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    at = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    at = [tick for tick in at if low <= tick <= high]
    return at, [f"{tick:g}" for tick in at]


def _draw_kernels(axes: Axes, kernels: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Draw each layer where its limit is, in the kernel's order, with its interval and its roof."""
    for case in kernels:
        number, roof = names.index(case["name"]), case["this_order"]
        colour, marker = _look(number)
        # Layers of one intensity stand side by side.
        x = roof["intensity"] * 1.09 ** (number - (len(names) - 1) / 2)
        low, middle, high = (case[name] / 1e9 for name in ("low", "median", "high"))
        axes.plot([x, x], [low, high], color=colour, linewidth=1)
        face = "white" if case["columns"] == "merge" else colour
        axes.plot([x], [roof["rate"] / 1e9], marker="_", markersize=9, color=colour, linestyle="none")
        axes.plot([x], [middle], marker=marker, markersize=7, color=colour, markerfacecolor=face, linestyle="none")


def _look(number: int) -> tuple[str, str]:
    """Return the colour and the marker of a network."""
    return style.COLOURS[number % len(style.COLOURS)], style.MARKERS[number % len(style.MARKERS)]


def _legend(names: Sequence[str], kernels: Sequence[Mapping[str, Any]]) -> list[Line2D]:
    handles = []
    for number, name in enumerate(names):
        colour, marker = _look(number)
        stride = next(case["stride"] for case in kernels if case["name"] == name)
        text = f"{name}, {stride} instances"
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=text))
    handles.append(Line2D([], [], color=style.INK, marker="_", markersize=9, linestyle="none", label="its roof"))
    for face, text in ((style.INK, "all columns"), ("white", "equal columns merged")):
        handles.append(Line2D([], [], color=style.INK, marker="o", markerfacecolor=face, linestyle="none", label=text))
    return handles
