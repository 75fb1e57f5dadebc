"""Compares the simulator with real runs: predicted times beside times of the same jobs measured on this machine.

Nothing is fitted: points of the sweep ``simulated`` are held against those of the sweep ``measured`` that have the same names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from rich.console import Group
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.bars import PARALLELISMS, network, scheduler
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Point, Points, frame

MEASURED, SIMULATED = "measured", "simulated"
NEAR = 0.25
"""An error of no more is near."""

APART_PERCENT = 15
"""Times of which one is so much longer than the other are in an order that the simulator should know."""

MOST_COLUMNS = 3
"""Panels beside each other."""

_SCHEDULER = re.compile(r",? ?scheduler=\w+")


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run one network: measured, and simulated."""

    measured: Point
    simulated: Point

    @property
    def error(self) -> float:
        """Simulated over the median of the measured seconds, less 1."""
        return self.simulated.median_s / self.measured.median_s - 1

    @property
    def repeated(self) -> float | None:
        """Seconds of the last round over the median of those before it, less 1: the error of a forecast by measuring."""
        *before, last = (run.seconds.inference for run in self.measured.runs)
        return median(last) / median([time for times in before for time in times]) - 1 if before else None

    @property
    def job(self) -> str:
        """What is run on how many threads and processes, whatever the scheduler."""
        return _SCHEDULER.sub("", self.measured.label)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two parallelisms for the same job, whose measured times are clearly apart; the first was the faster one."""

    faster: Case
    slower: Case

    @property
    def right(self) -> bool:
        """Whether the first is the faster one in the simulator, too."""
        return self.faster.simulated.median_s < self.slower.simulated.median_s


def kernel(point: Point) -> str:
    """Name a point's kernel, as calibrations do: with nothing that the paper lacks, csc has costs of its own."""
    known = point.run.optimizations
    of_paper = known is not None and (known.rows, known.full_columns, known.empty_columns) == ("none", False, "walk")
    return f"{point.run.kernel}/paper" if of_paper and point.run.kernel == "csc_csc" else str(point.run.kernel)


def processes(point: Point) -> str:
    """Say how many processes a point has."""
    return str(point.run.processes)


def threads(point: Point) -> str:
    """Say how many threads a point has."""
    return str(point.run.threads)


PARTS: dict[str, Callable[[Point], str]] = {
    "": lambda point: "all",
    "kernel": kernel,
    "threads": threads,
    "processes": processes,
    "scheduler": scheduler,
    "network": network,
    "kernel, threads": lambda point: f"{kernel(point)}, {threads(point)}",
}


def cases_of(points: Points) -> list[Case]:
    """Return what was both measured and simulated.

    Raises
    ------
    ConfigError
        If nothing was.
    """
    predicted = {point.label: point for point in points.of(SIMULATED)}
    found = [Case(point, predicted[point.label]) for point in points.of(MEASURED) if point.label in predicted]
    if not found:
        raise ConfigError(f"experiment {points.name}: no point is in both of the sweeps {MEASURED} and {SIMULATED}")
    return found


def errors_by_part(cases: Iterable[Case]) -> dict[str, list[float]]:
    """Group the errors: of all cases, and of parts of them."""
    found: dict[str, list[float]] = {}
    cases = list(cases)
    for name, part in PARTS.items():
        for case in cases:
            found.setdefault(f"{name} {part(case.measured)}".strip(), []).append(case.error)
    return found


def share_near(errors: Sequence[float]) -> float:
    """Return the share of errors that are near."""
    return sum(abs(error) <= NEAR for error in errors) / len(errors)


def repeated_errors(cases: Iterable[Case]) -> list[float]:
    """Return how far each measured case is from itself, as far as it was run in several rounds."""
    return [case.repeated for case in cases if case.repeated is not None]


def pairs_of(cases: Iterable[Case]) -> list[Pair]:
    """Return the pairs of the five parallelisms, job by job, whose measured times are clearly apart."""
    jobs: dict[str, list[Case]] = {}
    for case in cases:
        if scheduler(case.measured) in PARALLELISMS:
            jobs.setdefault(case.job, []).append(case)
    ordered = (sorted(two, key=lambda case: case.measured.median_s) for own in jobs.values() for two in combinations(own, 2))
    apart = 1 + APART_PERCENT / 100
    return [Pair(one, other) for one, other in ordered if other.measured.median_s > apart * one.measured.median_s]


def draw(points: Points) -> Drawing:
    """Draw predicted against measured times, a panel for each kernel; where they are equal is a line."""
    cases = cases_of(points)
    kernels = list(dict.fromkeys(kernel(case.measured) for case in cases))
    schedulers = list(dict.fromkeys(scheduler(case.measured) for case in cases))
    n_threads = list(dict.fromkeys(threads(case.measured) for case in cases))
    n_columns = min(len(kernels), MOST_COLUMNS)
    n_lines = math.ceil(len(kernels) / n_columns)
    figure = style.new_figure(4.4 * n_columns + 2.0, 4.4 * n_lines + 0.4)
    panels = [figure.add_subplot(n_lines, n_columns, number + 1) for number in range(len(kernels))]
    for axes, name in zip(panels, kernels, strict=True):
        _draw_cases(axes, [case for case in cases if kernel(case.measured) == name], schedulers, n_threads)
        axes.set_title(name)
        axes.set_xlabel("measured (s, logarithmic)")
    for axes in panels[::n_columns]:
        axes.set_ylabel(f"predicted (s, logarithmic; {SIMULATED})")
    figure.legend(handles=_legend(schedulers, n_threads), loc="outside right upper", fontsize=8.5)
    style.entitle(figure, "The simulator against real runs", points, "medians; lines from the fastest to the slowest run")
    return Drawing(figure, _data(points, cases), Group(_cases_table(cases), _errors_table(cases), _order_table(cases)))


def _draw_cases(axes: Axes, cases: Sequence[Case], schedulers: Sequence[str], n_threads: Sequence[str]) -> None:
    for case in cases:
        point = case.measured
        colour = style.COLOURS[schedulers.index(scheduler(point)) % len(style.COLOURS)]
        marker = style.MARKERS[n_threads.index(threads(point)) % len(style.MARKERS)]
        spread = [[values[0]] for values in style.spread([point])]
        axes.errorbar(
            point.median_s, case.simulated.median_s, xerr=spread, color=colour, marker=marker, markerfacecolor="white",
            linewidth=1,
        )  # fmt: skip
    times_s = [time for case in cases for time in (*case.measured.times_s, case.simulated.median_s)]
    ends = [min(times_s) / 1.3, max(times_s) * 1.3]
    axes.plot(ends, ends, color=style.GREY, linestyle=":")
    style.logarithmic(axes, "x")
    style.logarithmic(axes, "y")
    axes.set(xlim=ends, ylim=ends)


def _legend(schedulers: Sequence[str], n_threads: Sequence[str]) -> list[Line2D]:
    hollow: dict[str, Any] = {"markerfacecolor": "white", "linestyle": "none"}
    handles = [
        Line2D([], [], color=style.COLOURS[number % len(style.COLOURS)], linewidth=3, label=name)
        for number, name in enumerate(schedulers)
    ]
    handles += [
        Line2D([], [], color=style.INK, marker=style.MARKERS[n % len(style.MARKERS)], label=_threads_name(name), **hollow)
        for n, name in enumerate(n_threads)
    ]
    return [*handles, Line2D([], [], color=style.GREY, linestyle=":", label="predicted = measured")]


def _threads_name(n_threads: str) -> str:
    return "1 thread" if n_threads == "1" else f"{n_threads} threads"


def _data(points: Points, cases: Sequence[Case]) -> pd.DataFrame:
    of = {id(point): case for case in cases for point in (case.measured, case.simulated)}
    found = [of.get(id(point)) for point in points.points]
    data = frame(points.points)
    data["measured_s"] = [None if case is None else case.measured.median_s for case in found]
    data["predicted_s"] = [None if case is None else case.simulated.median_s for case in found]
    data["error"] = [None if case is None else case.error for case in found]
    return data


def _cases_table(cases: Sequence[Case]) -> Table:
    table = Table(title="Inference: measured (median, smallest to largest) and simulated seconds")
    for name in ("network", "kernel", "instances", "scheduler", "threads", "measured s", "simulated s", "error"):
        table.add_column(name, justify="left" if name in ("network", "kernel", "scheduler") else "right")
    for case in cases:
        point, times_s = case.measured, case.measured.times_s
        table.add_row(
            network(point), kernel(point), f"{point.run.instances:,}", scheduler(point), threads(point),
            f"{point.median_s:.3f} ({min(times_s):.3f} to {max(times_s):.3f})",
            style.labelled(f"{case.simulated.median_s:.3f}", True), f"{100 * case.error:+.0f} %",
        )  # fmt: skip
    return table


def _errors_table(cases: Sequence[Case]) -> Table:
    """Medians of the errors, and of their sizes, over all cases and over parts of them; and of measured times by themselves."""
    table = Table(title="Simulated / measured - 1")
    for name in ("cases", "number", "median of absolute errors", "within 25 %", "median error"):
        table.add_column(name, justify="left" if name == "cases" else "right")
    parts = errors_by_part(cases)
    if again := repeated_errors(cases):
        parts |= {"measured again: the last round by those before it": again}
    for name, errors in parts.items():
        absolute, signed = median(map(abs, errors)), median(errors)
        near = f"{100 * share_near(errors):.0f} %"
        table.add_row(name, str(len(errors)), f"{100 * absolute:.1f} %", near, f"{100 * signed:+.1f} %")
    return table


def _order_table(cases: Sequence[Case]) -> Table:
    """Of the five parallelisms, pairs that the simulator puts in another order than the clock does."""
    pairs = pairs_of(cases)
    n_right = sum(pair.right for pair in pairs)
    table = Table(
        title=f"Pairs of parallelisms whose measured times are 15 % apart: {n_right} of {len(pairs)} in the right order"
    )
    for name in ("job", "faster", "slower", "measured", "simulated"):
        table.add_column(name, justify="right" if name in (MEASURED, SIMULATED) else "left")
    for pair in (pair for pair in pairs if not pair.right):
        one, other = pair.faster, pair.slower
        measured, simulated = (
            b.median_s / a.median_s for a, b in ((one.measured, other.measured), (one.simulated, other.simulated))
        )
        names = (one.job, scheduler(one.measured), scheduler(other.measured))
        table.add_row(*names, f"{measured:.2f} times", style.labelled(f"{simulated:.2f} times", True))
    return table
