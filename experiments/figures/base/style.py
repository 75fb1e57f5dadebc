"""Gives all figures one look: colours for the colour-blind, and simulated points that nobody takes for measured."""

from __future__ import annotations

import contextlib
import logging
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.records.display import time_text as time_text  # figures take it from here
from experiments.records.point import PointRecord, environment_of
from experiments.records.read import Point, Points
from sparsednn.system.files import atomic_path

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito, "Color Universal Design", 2008; the pale yellow is left out."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY, INK = "#666666", "#404040"
DPI = 150
FORMATS = ("png", "pdf")
SIMULATED = "simulated"
TOY = "TOY SIZE"

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every glyph that it puts into a PDF

_PARAMETERS = {
    "font.size": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#DDDDDD",
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "savefig.dpi": DPI,
    "text.parse_math": False,
    "pdf.fonttype": 42,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style until the block ends."""
    with mpl.rc_context(_PARAMETERS):  # type: ignore[arg-type]
        yield


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Return an empty figure that needs no display, and no global state of pyplot."""
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def series(name: str, number: int, simulated: bool) -> dict[str, Any]:
    """Return how the line of a series looks: measured points filled and joined, simulated ones hollow and dashed."""
    colour = COLOURS[number % len(COLOURS)]
    return {
        "label": labelled(name, simulated),
        "color": colour,
        "marker": MARKERS[number % len(MARKERS)],
        "markerfacecolor": "white" if simulated else colour,
        "linestyle": "--" if simulated else "-",
    }


def bar(number: int, simulated: bool) -> dict[str, Any]:
    """Return how a bar looks: measured ones filled, simulated ones hatched outlines."""
    colour = COLOURS[number % len(COLOURS)]
    return {"facecolor": "white" if simulated else colour, "edgecolor": colour, "hatch": "///" if simulated else ""}


def labelled(name: str, simulated: bool) -> str:
    """Return a name that says of what is simulated that it is."""
    return f"{name} ({SIMULATED})" if simulated else name


def spread(points: Iterable[Point]) -> list[list[float]]:
    """Return how far the fastest and the slowest repeat are from the median, in seconds, as error bars take it."""
    points = list(points)
    return [[p.median_s - min(p.times_s) for p in points], [max(p.times_s) - p.median_s for p in points]]


def entitle(figure: Figure, title: str, points: Points, shown: str | None = None) -> None:
    """Write the title, what the points have in common, and in large letters if it is not what it may be taken for.

    `shown` says what the values are, if they are not medians of inference times.
    """
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=13)
    caption = provenance(points, shown)
    figure.supxlabel(
        "\n".join(textwrap.wrap(caption, int(figure.get_figwidth() * 16))), x=0.01, ha="left", size=7.5, color=GREY
    )
    if all(point.simulated for point in points.points):
        figure.text(0.99, 0.99, SIMULATED.upper(), size=18, weight="bold", color=COLOURS[1], ha="right", va="top")
    if points.toy:
        figure.text(0.5, 0.5, TOY, size=60, weight="bold", color=GREY, alpha=0.25, rotation=25, ha="center", va="center")


def provenance(points: Points, shown: str | None = None) -> str:
    """Say where the points come from: what the values are (see `entitle`), machine, threads, code, what failed."""
    records = points.records
    parts = [
        shown or _times_shown(points),
        _one_or_all("machines", (environment_of(record).cpu for record in records)),
        _one_or_all("", (f"{record.executed.processes} x {record.executed.threads} threads" for record in records)),
        _one_or_all("revisions", (_revision(record) for record in records)),
    ]
    if points.toy:
        parts.insert(0, f"{TOY}: says nothing about speed")
    if points.failed:
        parts.append(f"{len(points.failed)} failed points are not shown")
    return "; ".join(parts)


LEGEND_INCHES = 0.32
"""Height of a row of panels that holds a legend alone."""


def legend_row(axes: Axes, handles: Sequence[Artist], n_columns: int) -> None:
    """Make a panel a legend and nothing else: beside panels, legends cover titles and captions."""
    axes.axis("off")
    axes.legend(handles=handles, loc="center", ncols=n_columns, fontsize=8, columnspacing=1.2, borderpad=0)


def limits_around(axes: Axes, points: Iterable[Point], room: float) -> None:
    """Set a logarithmic axis of seconds (x) from below the fastest time to `room` times the slowest."""
    times_s = [time for point in points for time in point.times_s]
    logarithmic(axes, "x")
    axes.set_xlim(min(times_s) / 2, max(times_s) * room)


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers at its powers of ten; upright, at 2 and 5 times them too."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    if which == "y":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, each whole or not at all and without the date; return the paths.

    Both have the same places for all that is drawn: to find them takes as long as to draw it.
    """
    paths = [stem.with_name(f"{stem.name}.{form}") for form in FORMATS]
    for path, form in zip(paths, FORMATS, strict=True):
        metadata = {"CreationDate": None} if form == "pdf" else {}
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=form, metadata=metadata)
        figure.set_layout_engine("none")
    return paths


def _times_shown(points: Points) -> str:
    n_times = sorted({len(point.times_s) for point in points.points})
    return f"median of {_range(n_times)}, bars from smallest to largest" if n_times[-1] > 1 else "single runs"


def _range(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _one_or_all(what: str, values: Iterable[str]) -> str:
    """Return the one value, or all of them: of what should be the same, with a word that they are mixed."""
    different = list(dict.fromkeys(values))
    return different[0] if len(different) == 1 else f"{f'MIXED {what}: ' if what else ''}{', '.join(different)}"


def _revision(record: PointRecord) -> str:
    revision, changes, _ = (environment_of(record).git_revision or "unknown revision").partition("+")[0:3]
    return f"{revision[:10]}{changes and '+changes'}"
