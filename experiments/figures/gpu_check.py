"""Draws the times of a GPU for the challenge's networks: bars, with and without merging of columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.point import benchmark_figures
from experiments.records.read import Points

COLUMNS = ("merge", "none")
ROOM = 3.0  # right of the longest bar, for the text beside it


def draw(points: Points) -> Drawing:
    """Draw the inference times that a record of the benchmark holds; of several records, the first."""
    figures = benchmark_figures(points.points[0].record, "gpu_check")
    if figures is None:
        raise ConfigError(f"experiment {points.name}: its records hold no gpu_check; only a benchmark of that name makes them")
    rows = [row for row in figures["networks"] if "seconds_median" in row]
    if not rows:
        raise ConfigError(f"experiment {points.name}: no network ran; the report says why")
    names = list(dict.fromkeys(f"{row['neurons']:,} x {row['layers']:,}" for row in rows))
    figure = style.new_figure(9.0, 1.8 + 0.5 * len(names))
    axes = figure.subplots()
    for number, columns in enumerate(COLUMNS):
        found = [row for row in rows if row["columns"] == columns]
        at = [names.index(f"{row['neurons']:,} x {row['layers']:,}") + 0.38 * number - 0.19 for row in found]
        looks = style.bar(number, simulated=False)
        axes.barh(at, [row["seconds_median"] for row in found], height=0.36, label=f"columns={columns}", **looks)
        for place, row in zip(at, found, strict=True):
            axes.text(row["seconds_median"], place, f"  {style.time_text(row['seconds_median'])}", va="center", size=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    style.logarithmic(axes, "x")
    times_s = [row["seconds_median"] for row in rows]
    axes.set_xlim(min(times_s) / 2, max(times_s) * ROOM)
    axes.set_xlabel("inference time (s, logarithmic)")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper right", ncols=2)
    devices = ", ".join(dict.fromkeys(str(device["name"]) for device in figures["devices"] or []))
    style.entitle(figure, f"The networks of the challenge on {devices}", points, "medians of the repeats")
    data = pd.DataFrame([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
    return Drawing(figure, data, _table(figures))


def _table(found: dict[str, Any]) -> Table:
    table = Table(title="GPU check")
    for head in ("neurons", "layers", "columns", "result", "inference s"):
        table.add_column(head, justify="right")
    for row in found["networks"]:
        seconds = f"{row['seconds_median']:.4f}" if "seconds_median" in row else ""
        table.add_row(f"{row['neurons']:,}", f"{row['layers']:,}", row["columns"], row["status"], seconds)
    return table
