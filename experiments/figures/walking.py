"""Draws what a connection costs sparse kernels by the occupancy of the columns, and says up to where DCSC is faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from rich.console import Group
from rich.table import Table
from rich.text import Text

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.point import benchmark_figures
from experiments.records.read import Points
from experiments.records.statistics import Interval, median_interval

BENCHMARK, CSC, DCSC = "walking", "csc", "dcsc"
ABOUT = ("family", "neurons", "layers", "instances", "alive", "occupancy", "connections", "multiply_adds")


@dataclass(frozen=True, slots=True)
class MeasuredWalk:
    """A network and a row group (`ABOUT`), and the CPU seconds of each contestant, round by round."""

    about: Mapping[str, Any]
    seconds: Mapping[str, Sequence[float]]

    @property
    def name(self) -> str:
        """The network, and which instances are alive."""
        return "{neurons:,} x {layers}, {instances} instances, {alive} alive".format(**self.about)

    def ns(self, contestant: str) -> float:
        """Return nanoseconds a connection, over both steps."""
        return 1e9 * median(self.seconds[contestant]) / float(self.about["connections"])

    def ratio(self, contestant: str, other: str) -> Interval:
        """Return one's time over another's, round by round: the median and its 95 % interval."""
        return median_interval([a / b for a, b in zip(self.seconds[contestant], self.seconds[other], strict=True)])


def walks_of(points: Points) -> list[MeasuredWalk]:
    """Return the walks of all records, rounds of one after those of the other.

    Raises
    ------
    ConfigError
        If a record has no figures of the benchmark, or those of others.
    """
    found = [figures for record in points.records if (figures := benchmark_figures(record, BENCHMARK)) is not None]
    if not found or len(found) < len(points.records):
        raise ConfigError(f"experiment {points.name}: its records hold no {BENCHMARK}; only that benchmark makes them")
    walks = []
    for cases in zip(*(figures["cases"] for figures in found), strict=True):
        abouts = [{name: case[name] for name in ABOUT} | {"of": list(case["seconds"])} for case in cases]
        if any(about != abouts[0] for about in abouts):
            raise ConfigError(f"experiment {points.name}: its records are of different walks; give folders of one of them")
        seconds = {name: [time for case in cases for time in case["seconds"][name]] for name in cases[0]["seconds"]}
        walks.append(MeasuredWalk({name: cases[0][name] for name in ABOUT}, seconds))
    return walks


def draw(points: Points) -> Drawing:
    """Draw a panel for each network and number of instances that are alive, a line for each contestant."""
    walks = walks_of(points)
    panels = panels_of(walks)
    figure = style.new_figure(1.5 + 3.4 * len(panels), 4.6)
    shown = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, some) in zip(shown, panels.items(), strict=True):
        _draw(axes, some)
        axes.set_title(name, size=8)
    shown[0].set_ylabel("ns a connection (logarithmic)")
    figure.legend(*shown[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    n_rounds = min(len(times) for walk in walks for times in walk.seconds.values())
    style.entitle(figure, "What a connection costs", points, f"CPU times of one thread, medians of {n_rounds} rounds")
    return Drawing(figure, _data(points, walks), Group(_table(walks), *(Text(line) for line in verdicts(panels))))


def panels_of(walks: Sequence[MeasuredWalk]) -> dict[str, list[MeasuredWalk]]:
    """Return the walks whose occupancy was chosen, by network and instances."""
    panels: dict[str, list[MeasuredWalk]] = {}
    for walk in walks:
        if walk.about["occupancy"] is not None:
            panels.setdefault(walk.name, []).append(walk)
    return panels


def verdicts(panels: Mapping[str, Sequence[MeasuredWalk]]) -> list[str]:
    """Say for each panel up to which occupancy of those measured DCSC is surely faster than CSC, from the smallest on."""
    lines = []
    for name, walks in panels.items():
        faster = 0
        ascending = sorted(walks, key=lambda walk: float(walk.about["occupancy"]))
        while faster < len(ascending) and ascending[faster].ratio(DCSC, CSC)[2] < 1:
            faster += 1
        if faster == 0:
            lines.append(f"{name}: dcsc is nowhere surely faster than csc.")
            continue
        last = ascending[faster - 1]
        ratio = "{:.2f} ({:.2f} to {:.2f})".format(*last.ratio(DCSC, CSC))
        lines.append(
            f"{name}: dcsc is faster than csc up to {100 * last.about['occupancy']:g} %, where it takes {ratio} of its time."
        )
    return lines


def _draw(axes: Axes, walks: Sequence[MeasuredWalk]) -> None:
    for number, name in enumerate(walks[0].seconds):
        look = style.series(name, number, simulated=False)
        axes.plot([100 * walk.about["occupancy"] for walk in walks], [walk.ns(name) for walk in walks], **look)
    style.logarithmic(axes, "x")
    style.logarithmic(axes, "y")
    axes.set_xlabel("columns with an entry, % (logarithmic)")


def _table(walks: Sequence[MeasuredWalk]) -> Table:
    table = Table(title="Nanoseconds a connection, medians; ratios with 95 % intervals (below 1: the first is faster)")
    names = list(walks[0].seconds)
    for name in ("network and row group", "columns with an entry", "multiply-adds / connection", *names):
        table.add_column(name, justify="left" if name.startswith("network") else "right")
    pairs = [(DCSC, CSC), *((CSC, name) for name in names if name not in (CSC, DCSC))]
    for one, other in pairs:
        table.add_column(f"{one} / {other}", justify="right")
    for walk in walks:
        share = walk.about["occupancy"]
        times = [f"{walk.ns(name):.2f}" for name in names]
        ratios = ["{:.2f} ({:.2f} to {:.2f})".format(*walk.ratio(*pair)) for pair in pairs]
        work = f"{walk.about['multiply_adds'] / walk.about['connections']:.3f}"
        table.add_row(walk.name, "as it comes" if share is None else f"{100 * share:g} %", work, *times, *ratios)
    return table


def _data(points: Points, walks: Sequence[MeasuredWalk]) -> pd.DataFrame:
    point = points.points[0]
    return pd.DataFrame(
        [
            {"sweep": point.sweep, "point": point.label, **walk.about, "contestant": name, "rounds": len(walk.seconds[name]),
             "seconds": median(walk.seconds[name]), "ns_per_connection": walk.ns(name)}
            for walk in walks
            for name in walk.seconds
        ]
    )  # fmt: skip
