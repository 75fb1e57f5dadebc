"""Draws the map of regimes: how many times as long each parallelism takes as the best, by instances a thread and machine."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.bars import PARALLELISMS
from experiments.figures.base.drawing import Drawing
from experiments.figures.base.regimes import (
    HELD_OUT,
    MEASURED,
    NO_RIVALS,
    SIMULATED,
    PlaceContest,
    Region,
    contestant_of,
    contests,
    regime_of,
    regions,
)
from experiments.figures.parallelisms import BASE, CLAIMED
from experiments.records.read import Points, frame

MOST = 4.0
"""Ratios above have one colour."""

NEAR = 1.05
"""A scheduler that takes at most so many times as long as the rival is as good."""

COLOURS = "viridis_r"


def draw(points: Points) -> Drawing:
    """Draw a row of panels for each kernel and network, a column for each scheduler with its own defaults."""
    found = contests(points.points)
    if not found:
        raise ConfigError(
            f"experiment {points.name}: none of its points has another scheduler beside {' and '.join(NO_RIVALS)}"
        )
    jobs = list(dict.fromkeys(contest.regime.job for contest in found))
    names = schedulers(found)
    figure = style.new_figure(2.2 + 1.9 * len(names), 1.6 + 2.6 * len(jobs))
    panels = figure.subplots(len(jobs), len(names), squeeze=False, sharex=True, sharey="row")
    drawn: Any = None
    for row, job in zip(panels, jobs, strict=True):
        some = [contest for contest in found if contest.regime.job == job]
        for axes, name in zip(row, names, strict=True):
            drawn = _draw(axes, name, some) or drawn
        row[0].set_ylabel(f"{job}\nprocesses x threads", fontsize=8)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name, size=9)
    for axes in panels[-1]:
        axes.set_xlabel("instances a thread", fontsize=8)
    bar = figure.colorbar(drawn, ax=panels, label="times as long as the best", shrink=0.8, extend="max")
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    bar.ax.yaxis.set_minor_formatter(lambda value, _: f"{value:g}")
    shown = (
        "circles: measured, dotted: held out; hatched squares: simulated; the best is chosen on odd rounds, timed on even "
        f"ones\nred rings: {BASE} is at least {100 * (CLAIMED[0] - 1):.0f} % faster, as the paper claims on average"
    )
    style.entitle(figure, "Which parallelism wins where", points, shown)
    lines = [*verdicts(found), *claimed(found)]
    return Drawing(figure, _data(points, found), Group(_table(found), *(Text(line) for line in lines)))


def in_order(found: Sequence[PlaceContest]) -> list[PlaceContest]:
    """Return what is measured, then what is held out, then what is simulated."""
    return sorted(found, key=lambda contest: (MEASURED, HELD_OUT, SIMULATED).index(contest.regime.kind))


def schedulers(found: Sequence[PlaceContest]) -> list[str]:
    """Return the contestants that have a panel: those with the parameters that they have unless told otherwise."""
    return list(dict.fromkeys(name for contest in found for name in contest.points if "," not in name))


def _draw(axes: Axes, name: str, some: Sequence[PlaceContest]) -> Any:
    """Draw a scheduler's places of a job; return what a bar of colours can be made of, or None."""
    machines = list(dict.fromkeys((contest.regime.kind == SIMULATED, contest.regime.machine) for contest in some))
    drawn: Any = None
    for kind, look in (
        (SIMULATED, {"marker": "s", "s": 130, "hatch": "////", "edgecolors": "white", "linewidths": 0}),
        (MEASURED, {"marker": "o", "s": 110, "edgecolors": "black"}),
        (HELD_OUT, {"marker": "o", "s": 110, "edgecolors": "black"}),
    ):
        here = [contest for contest in some if contest.regime.kind == kind and name in contest.points]
        here = [contest for contest in here if contest.ratios(name)]
        if not here:
            continue
        x = [contest.regime.instances_per_thread for contest in here]
        y = [machines.index((kind == SIMULATED, contest.regime.machine)) for contest in here]
        values = [median(contest.ratios(name)) for contest in here]
        drawn = axes.scatter(x, y, c=values, cmap=COLOURS, norm=LogNorm(1, MOST), **look)  # type: ignore[arg-type]
        if kind == HELD_OUT:
            axes.scatter(x, y, color="white", s=8)
        rings = [place for place, contest in zip(zip(x, y, strict=True), here, strict=True) if _is_claimed(contest, name)]
        axes.scatter(
            [at for at, _ in rings], [at for _, at in rings], s=210, facecolors="none", edgecolors="red", linewidths=1.5
        )
    labels = [style.labelled(machine, simulated) for simulated, machine in machines]
    axes.set_yticks(range(len(machines)), labels, fontsize=7)
    axes.set_ylim(-0.6, len(machines) - 0.4)
    axes.margins(x=0.15)
    style.logarithmic(axes, "x")
    return drawn


def _is_claimed(contest: PlaceContest, name: str) -> bool:
    """Whether data_then_model is as much faster than another of the five at a place as the paper claims on average."""
    if name == BASE or name not in PARALLELISMS or BASE not in contest.points:
        return False
    ratios = contest.over(name, BASE)
    return bool(ratios) and median(ratios) >= CLAIMED[0]


def claimed(found: Sequence[PlaceContest]) -> list[str]:
    """Say for each of the other parallelisms where data_then_model is as much faster as the paper claims on average."""
    lines = []
    for name in PARALLELISMS:
        known = [] if name == BASE else regions(found, name, BASE, CLAIMED[0])
        if known:
            words = "; ".join(map(_region, known))
            lines.append(f"{BASE} at least {100 * (CLAIMED[0] - 1):.0f} % faster than {name}: {words}.")
    return lines


def _region(region: Region) -> str:
    how, sizes = "simulated" if region.simulated else "measured", region.instances_per_thread
    span = " to ".join(dict.fromkeys(f"{size:,.0f}" for size in (*sizes[:1], *sizes[-1:])))
    where = f" ({span} instances a thread)" if sizes else ""
    return f"{how}, {region.kernel}, at {len(sizes)} of {region.n_places} places{where}"


def verdicts(found: Sequence[PlaceContest]) -> list[str]:
    """Say of the schedulers that are to be as good as the best of the others at how many places they are."""
    lines = []
    for name in NO_RIVALS:
        for kind in (MEASURED, HELD_OUT, SIMULATED):
            here = [contest for contest in found if contest.regime.kind == kind and name in contest.points]
            values = [median(ratios) for contest in here if (ratios := contest.ratios(name))]
            if values:
                near = sum(value <= NEAR for value in values)
                near_it = f"at most {NEAR:g} times the rival at {near} of {len(values)} places"
                lines.append(f"{name}, {kind}: {near_it}, {max(values):.2f} at most{_itself(here)}.")
    return lines


def _itself(here: Sequence[PlaceContest]) -> str:
    """Say how far rivals are from themselves."""
    if here[0].regime.kind == SIMULATED:
        return ""
    values = [median(ratios) for contest in here if (ratios := contest.against_itself())]
    if not values:
        return "; of one round, the rival is chosen and timed on the same"
    return f"; the rival itself, of one round and the next, {min(values):.2f} to {max(values):.2f}"


def _data(points: Points, found: Sequence[PlaceContest]) -> pd.DataFrame:
    data = frame(points.points)
    by_regime = {contest.regime: contest for contest in found}
    rows = []
    for point in points.points:
        regime, name = regime_of(point), contestant_of(point)
        row: dict[str, Any] = {
            "kind": regime.kind, "machine": regime.machine, "instances_per_thread": regime.instances_per_thread,
            "row_order": regime.order, "contestant": name,
        }  # fmt: skip
        contest = by_regime.get(regime)
        ratios = [] if contest is None else contest.ratios(name)
        row |= {"rival": contest and contest.rival, "chosen_on_other_rounds": contest and contest.in_turn}
        row |= _spread("ratio", ratios) | _spread("rival_itself", [] if contest is None else contest.against_itself())
        rows.append(row | {"rounds": len(ratios)})
    return pd.concat([data, pd.DataFrame(rows)], axis=1)


def _spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    middle = median(values) if values else None
    return {name: middle, f"{name}_min": min(values, default=None), f"{name}_max": max(values, default=None)}


def _table(found: Sequence[PlaceContest]) -> Table:
    names = schedulers(found)
    table = Table(title="Times as long as the rival; the rival itself: an odd round over the next; medians")
    for name in ("", "kernel, network", "processes x threads", "instances a thread", "rival", "itself", *names):
        table.add_column(name, justify="left" if name in ("", "kernel, network", "rival") else "right")
    before = ""
    for contest in in_order(found):
        regime = contest.regime
        if before and regime.kind != before:
            table.add_section()
        table.add_row(
            "" if regime.kind == before else regime.kind, escape(regime.job), regime.machine,
            f"{regime.instances_per_thread:,.0f}", escape(contest.rival), _middle(contest.against_itself()),
            *(_middle(contest.ratios(name)) if name in contest.points else "" for name in names),
        )  # fmt: skip
        before = regime.kind
    return table


def _middle(values: Sequence[float]) -> str:
    return f"{median(values):.2f}" if values else ""
