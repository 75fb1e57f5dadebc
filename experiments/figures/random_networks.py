"""Draws contests on random networks: the ratio of the best library to ours, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.point import benchmark_figures
from experiments.records.read import Points
from experiments.records.statistics import Interval, median_interval
from sparsednn.errors import OptionError

BENCHMARK = "random_networks"


@dataclass(frozen=True, slots=True)
class ContestOutcome:
    """The times of every contestant for a network.

    Attributes
    ----------
    name : str
        Of the network.
    instances : int
    ours : tuple of str
        The contestants that are no libraries.
    seconds : mapping of list of float
        By contestant, round by round.
    performed_edges : mapping of int
        Multiply-adds that each has really done.
    """

    name: str
    instances: int
    ours: tuple[str, ...]
    seconds: Mapping[str, Sequence[float]]
    performed_edges: Mapping[str, int]

    def best_peer(self) -> str:
        """The library with the smallest median."""
        return min((name for name in self.seconds if name not in self.ours), key=lambda name: median(self.seconds[name]))

    def rate(self, name: str) -> float:
        """Multiply-adds that a contestant has really done, a second."""
        return self.performed_edges[name] / median(self.seconds[name])

    def ratio(self, ours: str) -> Interval:
        """Best library over ours, round by round: the median and its 95 % interval."""
        pairs = zip(self.seconds[self.best_peer()], self.seconds[ours], strict=True)
        return median_interval([peer / own for peer, own in pairs])


def outcomes_of(found: Sequence[Mapping[str, Any]]) -> list[ContestOutcome]:
    """Join the figures of several runs of the benchmark: the rounds of one come after those of the other.

    Raises
    ------
    ValueError
        If they are not of the same networks and contestants.
    """
    joined = []
    for contests in zip(*(figures["contests"] for figures in found), strict=True):
        first = contests[0]
        for other in contests[1:]:
            for key in ("name", "instances"):
                if other[key] != first[key]:
                    raise OptionError(f"records of different networks: {first[key]} and {other[key]}")
            if other["seconds"].keys() != first["seconds"].keys():
                raise OptionError("records of different libraries; give folders of one installation")
        seconds = {name: [time for contest in contests for time in contest["seconds"][name]] for name in first["seconds"]}
        joined.append(
            ContestOutcome(first["name"], first["instances"], tuple(found[0]["ours"]), seconds, first["performed_edges"])
        )  # fmt: skip
    return joined


def draw(points: Points) -> Drawing:
    """Draw the ratios of every network, with and without merging of columns."""
    found = [figures for record in points.records if (figures := benchmark_figures(record, BENCHMARK)) is not None]
    if len(found) < len(points.records):
        raise ConfigError(f"experiment {points.name}: its records hold no {BENCHMARK}; only that benchmark makes them")
    try:
        outcomes = outcomes_of(found)
    except ValueError as error:
        raise ConfigError(f"experiment {points.name}: {error}") from error
    figure = style.new_figure(10.0, 2.2 + 0.5 * len(outcomes))
    axes = figure.subplots()
    for number, ours in enumerate(found[0]["ours"]):
        _draw_ratios(axes, outcomes, ours, number)
    axes.axvline(1, color=style.GREY, linestyle=":")
    axes.set_yticks(range(len(outcomes)), [f"{one.name}, {one.instances:,} instances" for one in outcomes], fontsize=8)
    axes.set_ylim(len(outcomes) - 0.5, -0.5)
    style.logarithmic(axes, "x")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel("best library / ours (logarithmic; above 1: ours is faster)")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper right", ncols=2)
    n_rounds = sum(figures["rounds"] for figures in found)
    shown = f"medians of the ratios of {n_rounds} rounds, lines from end to end of their 95 % intervals"
    style.entitle(figure, "Random networks, beside other libraries", points, shown)
    lines = [*verdicts(outcomes), *found[0]["left_out"]]
    return Drawing(figure, _data(points, outcomes), Group(_table(outcomes), *(Text(line) for line in lines)))


def verdicts(outcomes: Sequence[ContestOutcome]) -> list[str]:
    """Say where ours is slower than the best library; or that it is nowhere."""
    lines = []
    for outcome in outcomes:
        for ours in outcome.ours:
            middle, low, high = outcome.ratio(ours)
            if middle < 1:
                surely, peer = "slower" if high < 1 else "perhaps slower", outcome.best_peer()
                figures = f"{middle:.2f} ({low:.2f} to {high:.2f}) times as fast"
                lines.append(f"{outcome.name}, {outcome.instances:,} instances: {ours} is {surely} than {peer}: {figures}")
    return lines or [f"Nowhere is numba slower than the best library ({len(outcomes)} networks)."]


def _draw_ratios(axes: Axes, outcomes: Sequence[ContestOutcome], ours: str, number: int) -> None:
    intervals = [outcome.ratio(ours) for outcome in outcomes]
    middles = [middle for middle, _, _ in intervals]
    spread = [[middle - low for middle, low, _ in intervals], [high - middle for middle, _, high in intervals]]
    at = [row + 0.24 * number - 0.12 for row in range(len(outcomes))]
    look = style.series(ours, number, simulated=False) | {"linestyle": "none"}
    axes.errorbar(middles, at, xerr=spread, capsize=3, **look)


def _data(points: Points, outcomes: Sequence[ContestOutcome]) -> pd.DataFrame:
    point, rows = points.points[0], []
    for outcome in outcomes:
        for name, seconds in outcome.seconds.items():
            row: dict[str, Any] = {"sweep": point.sweep, "point": point.label, "network": outcome.name}
            row |= {"instances": outcome.instances, "contestant": name, "rounds": len(seconds)}
            row |= {"seconds_median": median(seconds), "performed_per_second": outcome.rate(name)}
            if name in outcome.ours:
                ratio = dict(zip(("ratio", "ratio_low", "ratio_high"), outcome.ratio(name), strict=True))
                row |= {"best_library": outcome.best_peer(), **ratio}
            rows.append(row)
    return pd.DataFrame(rows)


def _table(outcomes: Sequence[ContestOutcome]) -> Table:
    """Times, the rates of ours and of the best library, and how often ours goes into the best library's time."""
    table = Table(title="Inference, medians in ms; best library / ours with 95 % intervals (above 1: ours is faster)")
    table.add_column("network", no_wrap=True)
    first = outcomes[0]
    names, ratios = [*first.seconds], [f"best library / {name}" for name in first.ours]
    for column in ("instances", *names, f"{first.ours[0]} e9/s", "best library e9/s", *ratios):
        table.add_column(column, justify="right")
    for outcome in outcomes:
        table.add_row(
            escape(outcome.name),
            f"{outcome.instances:,}",
            *(f"{1e3 * median(outcome.seconds[name]):.1f}" for name in names),
            f"{outcome.rate(first.ours[0]) / 1e9:.1f}",
            f"{outcome.rate(outcome.best_peer()) / 1e9:.1f}",
            *("{:.2f} ({:.2f} to {:.2f})".format(*outcome.ratio(ours)) for ours in outcome.ours),
        )
    return table
