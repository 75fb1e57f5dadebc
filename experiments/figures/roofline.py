"""The roofline as a figure: multiply-adds a second against multiply-adds per byte, roofs as lines, layers as points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sparsednn.result import atomic_path

DPI = 150
STRIDE = 128
"""Instances in the blocks that are drawn: the backend's own choice. All others are in the table."""

Limits = tuple[tuple[float, float], tuple[float, float]]

_COLOURS = ("#000000", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#882255")
_MARKERS = ("D", "o", "s", "^", "v", "P")
_INK = "#404040"


def draw_roofline(figures: Mapping[str, Any], path: Path) -> None:
    """Draw a roofline as a PNG file, and as a PDF file of the same name beside it; both are written atomically.

    Parameters
    ----------
    figures : mapping
        What `experiments.roofline` measured, or the JSON file it wrote.
    path : Path

    Raises
    ------
    ValueError
        If the name does not end in ``.png``, or there is nothing to draw.
    OSError
        If a file cannot be written.
    """
    if path.suffix != ".png":
        raise ValueError(f"{path}: rooflines are drawn as PNG files, with a PDF beside; give a name that ends in .png")
    figure = roofline_figure(figures)
    for target in (path, path.with_suffix(".pdf")):
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format=target.suffix[1:])


def roofline_figure(figures: Mapping[str, Any]) -> Figure:
    """Return the figure: one panel for each number of threads."""
    threads = sorted({rate["threads"] for rate in figures["rates"]})
    kernels = [case for case in figures["kernels"] if case["stride"] == STRIDE or case["neurons"] == 0]
    if not threads or not kernels:
        raise ValueError(f"nothing to draw: the record has {len(figures['rates'])} rates and {len(kernels)} layers")
    figure = Figure(figsize=(5.6 * len(threads) + 0.4, 6.0), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    names = list(dict.fromkeys(case["name"] for case in kernels))
    limits = _limits(figures, kernels, threads)
    panels = figure.subplots(1, len(threads), sharey=True, squeeze=False)[0]
    for axes, n_threads in zip(panels, threads, strict=True):
        _draw_roofs(axes, figures["rates"], n_threads, limits)
        _draw_kernels(axes, [case for case in kernels if case["threads"] == n_threads], names)
        axes.set_title(f"{n_threads} threads together" if n_threads > 1 else "1 thread")
        axes.set_xlabel("multiply-adds per byte from the level that limits")
    panels[0].set_ylabel("multiply-adds a second (1e9)")
    figure.legend(handles=_legend(names, kernels), loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return figure


def best(rates: Sequence[Mapping[str, Any]], n_threads: int, name: str) -> float:
    """Return the median rate with the faster of the vector widths."""
    return float(max(rate["median"] for rate in rates if rate["threads"] == n_threads and rate["name"] == name))


def _draw_roofs(axes: Axes, rates: Sequence[Mapping[str, Any]], n_threads: int, limits: Limits) -> None:
    """Draw the arithmetic rate and the bandwidths up to it (a decade is as long on both axes: they rise at 45 degrees)."""
    (left, right), heights = limits
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=heights, aspect="equal")
    axes.set_xticks(*_ticks(left, right))
    axes.set_yticks(*_ticks(*heights))
    axes.minorticks_off()
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    ceiling = best(rates, n_threads, "unfused") / 1e9
    axes.plot([left, right], [ceiling, ceiling], color=_INK, linewidth=1.5)
    text = f"multiply, then add, in registers: {ceiling:.0f}e9/s"
    axes.annotate(text, (right, ceiling), (-4, 4), textcoords="offset points", ha="right", fontsize=8, color=_INK)
    for number, name in enumerate(_levels(rates)):
        bandwidth = best(rates, n_threads, name) / 1e9
        style, below = ("-", "--", "-.", ":")[number % 4], number >= 2
        axes.plot([left, ceiling / bandwidth], [left * bandwidth, ceiling], color=_INK, linewidth=1, linestyle=style)
        at = ceiling / bandwidth * 0.95 if below else max(left, heights[0] / bandwidth) * 1.06
        axes.annotate(
            f"{name}: {bandwidth:.0f} GB/s",
            (at, at * bandwidth),
            (4, -4) if below else (-2, 2),
            textcoords="offset points",
            fontsize=8,
            color=_INK,
            rotation=45,
            rotation_mode="anchor",
            va="top" if below else "bottom",
            ha="right" if below else "left",
        )


def _levels(rates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the levels, nearest first."""
    return list(dict.fromkeys(rate["name"] for rate in rates if rate["kind"] == "bandwidth"))


def _limits(figures: Mapping[str, Any], kernels: Sequence[Mapping[str, Any]], threads: Sequence[int]) -> Limits:
    """Return the ends of both axes: all layers, and the corner that each level's roof makes with the arithmetic rate."""
    rates = figures["rates"]
    ceilings = {n: best(rates, n, "unfused") for n in threads}
    corners = [ceilings[n] / best(rates, n, name) for n in threads for name in _levels(rates)]
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
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
        # Layers of one intensity stand side by side.
        x = roof["intensity"] * 1.09 ** (number - (len(names) - 1) / 2)
        low, middle, high = (case[name] / 1e9 for name in ("low", "median", "high"))
        axes.plot([x, x], [low, high], color=colour, linewidth=1)
        face = "white" if case["columns"] == "merge" else colour
        axes.plot([x], [roof["rate"] / 1e9], marker="_", markersize=9, color=colour, linestyle="none")
        axes.plot([x], [middle], marker=marker, markersize=7, color=colour, markerfacecolor=face, linestyle="none")


def _legend(names: Sequence[str], kernels: Sequence[Mapping[str, Any]]) -> list[Line2D]:
    handles = []
    for number, name in enumerate(names):
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
        stride = next(case["stride"] for case in kernels if case["name"] == name)
        text = f"{name}, {stride} instances"
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=text))
    handles.append(Line2D([], [], color=_INK, marker="_", markersize=9, linestyle="none", label="its roof"))
    for face, text in ((_INK, "all columns"), ("white", "equal columns merged")):
        handles.append(Line2D([], [], color=_INK, marker="o", markerfacecolor=face, linestyle="none", label=text))
    return handles
