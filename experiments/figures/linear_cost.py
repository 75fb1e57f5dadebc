"""Draws time against layers, instances and connections on logarithmic axes: a slope of 1 is cost in proportion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from rich.table import Table
from scipy import stats

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame

SIZES = {"layers": "layers", "instances": "instances", "connections": "network_nnz", "degree": "network_nnz"}
"""Which size a sweep varies, by the record's name."""
LABELS = {"connections": "connections, by width", "degree": "connections, by degree"}


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A straight line through the logarithms of sizes and median times, by least squares."""

    slope: float
    standard_error: float | None
    intercept: float

    @property
    def text(self) -> str:
        """The slope, with its standard error."""
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        return f"{self.slope:.2f}{error}"

    def at(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the line's times in seconds."""
        return np.exp(self.intercept + self.slope * np.log(sizes))


def fit(sizes: list[float], times_s: list[float]) -> PowerLaw | None:
    """Fit a line; None for fewer than two sizes, and no standard error for two."""
    if len(set(sizes)) < 2:
        return None
    found = stats.linregress(np.log(sizes), np.log(times_s))
    return PowerLaw(float(found.slope), float(found.stderr) if len(sizes) > 2 else None, float(found.intercept))


def draw(points: Points) -> Drawing:
    """Draw a panel for each sweep, with the fitted slopes; what is measured and what is simulated have lines of their own."""
    sweeps = {sweep: found for sweep in SIZES if (found := sorted(points.of(sweep), key=_size))}
    if not sweeps:
        raise ConfigError(f"experiment {points.name}: none of its points are of the sweeps {', '.join(SIZES)}")
    figure = style.new_figure(4.0 * len(sweeps), 4.4)
    panels = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    table, slopes = _empty_table(), dict[tuple[str, bool], float | None]()
    for number, (axes, (sweep, found)) in enumerate(zip(panels, sweeps.items(), strict=True)):
        for simulated in (False, True):
            line = [point for point in found if point.simulated is simulated]
            if line:
                fitted = fit([_size(point) for point in line], [point.median_s for point in line])
                _draw_line(axes, line, fitted, number)
                _add_row(table, style.labelled(LABELS.get(sweep, sweep), simulated), line, fitted)
                slopes[sweep, simulated] = None if fitted is None else fitted.slope
        _prepare_axes(axes, sweep, found)
    panels[0].set_ylabel("inference time (s, logarithmic)")
    style.entitle(figure, "Cost where no work is avoided", points)
    data = frame(points.points)
    data["size"] = [_size(point) for point in points.points]
    data["slope"] = [slopes.get((point.sweep, point.simulated)) for point in points.points]
    return Drawing(figure, data, table)


def _draw_line(axes: Axes, line: list[Point], fitted: PowerLaw | None, number: int) -> None:
    """Draw points with their spread, the line fitted to them, and what would be in proportion to the first."""
    sizes, times_s = np.array([_size(point) for point in line], np.float64), [point.median_s for point in line]
    look = style.series("median", number, line[0].simulated)
    axes.errorbar(sizes, times_s, yerr=style.spread(line), capsize=3, zorder=3, **look | {"linestyle": "none"})
    if fitted is not None:
        axes.plot(
            sizes, fitted.at(sizes), color=look["color"], linestyle=look["linestyle"], label=f"fitted: slope {fitted.text}"
        )
    proportional = times_s[0] * sizes / sizes[0]
    axes.plot(sizes, proportional, color=style.GREY, linestyle=":", label="in proportion to the first")


def _prepare_axes(axes: Axes, sweep: str, found: list[Point]) -> None:
    sizes = sorted({_size(point) for point in found})
    style.logarithmic(axes, "x")
    style.logarithmic(axes, "y")
    axes.set_xticks(sizes, [f"{size:,}" if size < 1e6 else f"{size / 1e6:,.1f}e6" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"number of {LABELS.get(sweep, sweep)}")
    axes.set_title(_constant(found))
    axes.legend(loc="upper left", fontsize=8.5)


def _empty_table() -> Table:
    table = Table(title="Slopes through the logarithms ± standard errors; 1: in proportion")
    for name in ("size", "from", "to", "seconds", "slope"):
        table.add_column(name, justify="left" if name == "size" else "right")
    return table


def _add_row(table: Table, name: str, line: list[Point], fitted: PowerLaw | None) -> None:
    times = f"{line[0].median_s:.3f} to {line[-1].median_s:.3f}"
    table.add_row(name, f"{_size(line[0]):,}", f"{_size(line[-1]):,}", times, "" if fitted is None else fitted.text)


def _constant(found: list[Point]) -> str:
    """Say what is the same in all points of a sweep."""
    parts = []
    for name in ("neurons", "layers", "instances"):
        values = {getattr(point.run, name) for point in found}
        if len(values) == 1:
            parts.append(f"{values.pop():,} {name}")
    return ", ".join(parts)


def _size(point: Point) -> int:
    return int(getattr(point.run, SIZES.get(point.sweep, "network_nnz")))
