"""Compares the generated inputs and networks of the challenge with the published counts."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from rich.table import Table

from experiments.figures.base import style
from experiments.figures.base.bars import network
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame
from sparsednn.data.challenge_inputs import N_INSTANCES, NONZEROS
from sparsednn.data.truth import SOURCES, challenge_categories

CONNECTIONS_PER_NEURON = 32
COUNTS = ("connections", "input_nnz", "categories")


def counts(point: Point) -> dict[str, tuple[int, int | None]]:
    """Return what was counted, and what is published of it, if anything is for so many instances."""
    run = point.run
    neurons, whole = run.neurons, run.instances == N_INSTANCES
    known = SOURCES.get(neurons, "").startswith("published")
    return {
        "connections": (run.network_nnz, CONNECTIONS_PER_NEURON * neurons * run.layers),
        "input_nnz": (run.input_nnz, NONZEROS.get(neurons) if whole else None),
        "categories": (run.categories_count, len(challenge_categories(neurons)) if whole and known else None),
    }


def verdict(found: int, published: int | None) -> str:
    """Say whether a count is the published one."""
    if published is None:
        return "not published"
    return "as published" if found == published else f"DIFFERS from {published:,}"


def draw(points: Points) -> Drawing:
    """Draw a bar for each network and each width of the input, with its count and whether that is the published one."""
    by_width = {point.run.neurons: point for point in reversed(points.points)}
    widths = [by_width[neurons] for neurons in sorted(by_width)]
    n_networks = len(points.points)
    figure = style.new_figure(9.0, 2.4 + 0.3 * (n_networks + 2 * len(widths)))
    ratios = [n_networks + 1, len(widths) + 1, len(widths) + 1]
    panels = figure.subplots(3, 1, squeeze=False, gridspec_kw={"height_ratios": ratios})[:, 0]
    _draw_bars(panels[0], list(points.points), "connections", 0, network)
    _draw_bars(panels[1], widths, "input_nnz", 1, _width)
    _draw_bars(panels[2], widths, "categories", 2, _width)
    n_instances = points.points[0].run.instances
    of_instances = f"of {n_instances:,} instances"
    titles = ("Connections of the networks", f"Nonzeros {of_instances}", f"Categories {of_instances}")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
    style.entitle(figure, "The challenge's data, rebuilt", points, "counts, logarithmic")
    return Drawing(figure, _data(points), _table(points))


def _width(point: Point) -> str:
    return f"{point.run.neurons:,} neurons"


def _draw_bars(axes: Axes, found: list[Point], key: str, number: int, name: Callable[[Point], str]) -> None:
    values = [counts(point)[key] for point in found]
    axes.barh(range(len(found)), [value for value, _ in values], height=0.7, **style.bar(number, simulated=False))
    for row, (value, published) in enumerate(values):
        axes.text(max(value, 1), row, f"  {value:,}, {verdict(value, published)}", va="center", size=8)
    style.logarithmic(axes, "x")
    most = max(value for value, _ in values)
    axes.set_xlim(max(min(value for value, _ in values), 1) / 3, max(most, 1) * 60)
    axes.set_yticks(range(len(found)), [name(point) for point in found])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _data(points: Points) -> pd.DataFrame:
    data = frame(points.points)
    data["input_nnz"] = [point.run.input_nnz for point in points.points]
    for key in COUNTS:
        data[f"published_{key}"] = [counts(point)[key][1] for point in points.points]
        data[f"{key}_verdict"] = [verdict(*counts(point)[key]) for point in points.points]
    return data


def _table(points: Points) -> Table:
    table = Table(title="The challenge's data: what is generated here, beside what is published")
    for name in ("network", "connections", "", "input nonzeros", "", "categories", ""):
        table.add_column(name, justify="left" if name in ("", "network") else "right")
    for point in points.points:
        cells = [text for found, known in counts(point).values() for text in (f"{found:,}", verdict(found, known))]
        table.add_row(network(point), *cells)
    return table
