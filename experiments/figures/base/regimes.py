"""Compares parallelisms point by point of a map: each over a rival that was chosen on other rounds than it is timed on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from experiments.figures.base.bars import asked_scheduler
from experiments.records.point import about_of
from experiments.records.read import Point
from sparsednn.options.groups import SchedulerOptions

NO_RIVALS = ("adaptive", "auto")
"""Schedulers that are to be as good as the best of the others."""

HELD_OUT = "held out"
"""Labels of points begin so that are not looked at while a scheduler is tuned."""

MEASURED, SIMULATED = "measured", "simulated"

Seconds = dict[int, float]
"""Seconds of a point, by round."""


class Regime(NamedTuple):
    """A place on the map.

    Attributes
    ----------
    kind : {"measured", "held out", "simulated"}
        "held out": measured, and not used while anything was tuned.
    kernel : str
    neurons, layers : int
    order : {"given", "alive_first"}
        Of the instances, before they are split.
    processes, threads : int
        Processes (simulated: nodes), and threads of each.
    instances : int
        Of all threads.
    """

    kind: str
    kernel: str
    neurons: int
    layers: int
    order: str
    processes: int
    threads: int
    instances: int

    @property
    def instances_per_thread(self) -> float:
        """Instances over threads."""
        return self.instances / (self.processes * self.threads)

    @property
    def machine(self) -> str:
        """Processes, threads, and whether the order of the instances is the worst."""
        return f"{self.processes} x {self.threads}{'' if self.order == 'given' else ', alive first'}"

    @property
    def job(self) -> str:
        """The kernel and the network."""
        return f"{self.kernel}, {self.neurons:,} x {self.layers:,}"


def regime_of(point: Point) -> Regime:
    """Return where on the map a point is."""
    run = point.run
    kind = SIMULATED if point.simulated else HELD_OUT if point.label.startswith(HELD_OUT) else MEASURED
    return Regime(
        kind, run.kernel, run.neurons, run.layers, run.row_order, run.processes, run.threads, run.instances
    )  # fmt: skip


def contestant_of(point: Point) -> str:
    """Name a point's scheduler, with its number of row groups where that is not the default."""
    name, factor = asked_scheduler(point), point.run.scheduler_options["split_factor"]
    usual = name == "auto" or factor == SchedulerOptions().split_factor
    return name if usual else f"{name}, split_factor={factor}"


@dataclass(frozen=True, slots=True)
class PlaceContest:
    """The contestants at a place on the map.

    Attributes
    ----------
    regime : Regime
    points : dict of Point
        By contestant.
    seconds : dict of Seconds
        By contestant.
    rival : str
        The contestant, not of `NO_RIVALS`, with the smallest median of its odd rounds; the first round is 1.
    """

    regime: Regime
    points: Mapping[str, Point]
    seconds: Mapping[str, Seconds]
    rival: str

    @property
    def in_turn(self) -> bool:
        """Whether there are rounds on which the rival was not chosen; else it was chosen and timed on the same."""
        return any(number % 2 == 0 for number in self.seconds[self.rival])

    def ratios(self, contestant: str) -> list[float]:
        """Return the seconds of a contestant over those of the rival, for each even round that has both."""
        mine, theirs = self.seconds[contestant], self.seconds[self.rival]
        rounds = sorted(mine.keys() & theirs.keys())
        return [mine[number] / theirs[number] for number in rounds if not self.in_turn or number % 2 == 0]

    def over(self, contestant: str, base: str) -> list[float]:
        """Return the seconds of a contestant over those of another, for each round that has both: neither is chosen here."""
        mine, theirs = self.seconds[contestant], self.seconds[base]
        return [mine[number] / theirs[number] for number in sorted(mine.keys() & theirs.keys())]

    def against_itself(self) -> list[float]:
        """Return the seconds of the rival in each odd round over those in the next: what chance alone makes of a ratio of 1."""
        found = self.seconds[self.rival]
        return [found[number - 1] / found[number] for number in sorted(found) if number % 2 == 0 and number - 1 in found]


class Region(NamedTuple):
    """Where one parallelism is at least so many times as fast as another.

    Attributes
    ----------
    simulated : bool
    kernel : str
    n_places : int
        Where both were run with this kernel.
    instances_per_thread : tuple of float
        Of the places where it is, ascending.
    """

    simulated: bool
    kernel: str
    n_places: int
    instances_per_thread: tuple[float, ...]


def regions(found: Sequence[PlaceContest], contestant: str, base: str, least: float) -> list[Region]:
    """Return where `contestant` takes at least `least` times as long as `base` (medians), measured first, by kernel."""
    places: dict[tuple[bool, str], list[tuple[float, float]]] = defaultdict(list)
    for contest in found:
        ratios = contest.over(contestant, base) if {contestant, base} <= contest.points.keys() else []
        if ratios:
            regime = contest.regime
            places[regime.kind == SIMULATED, regime.kernel].append((regime.instances_per_thread, median(ratios)))
    return [
        Region(simulated, kernel, len(some), tuple(sorted(size for size, ratio in some if ratio >= least)))
        for (simulated, kernel), some in sorted(places.items())
    ]


def contests(points: Sequence[Point]) -> list[PlaceContest]:
    """Return the contests at all places, in the order in which these come first; places without a rival are left out."""
    by_regime: dict[Regime, dict[str, Point]] = {}
    for point in points:
        by_regime.setdefault(regime_of(point), {})[contestant_of(point)] = point
    seconds = rounds_of(points)
    found = []
    for regime, cell in by_regime.items():
        times = {name: seconds[point.sweep, point.label] for name, point in cell.items()}
        rivals = {name: _chosen_by(some) for name, some in times.items() if name not in NO_RIVALS}
        if rivals:
            found.append(PlaceContest(regime, cell, times, min(rivals, key=lambda name: rivals[name])))
    return found


def _chosen_by(seconds: Seconds) -> float:
    """Return the median of the odd rounds; infinity if all of them have failed."""
    odd = [time for number, time in seconds.items() if number % 2 == 1]
    return median(odd) if odd else math.inf


def rounds_of(points: Sequence[Point]) -> dict[tuple[str, str], Seconds]:
    """Return the seconds of each point, by sweep and label, and by round: of repeats, the median.

    In a run of an experiment, a round ends where a point comes again. The rounds of several runs follow each other; each run
    begins with an odd one.
    """
    runs: dict[Path, list[tuple[int, tuple[str, str], float]]] = defaultdict(list)
    for point in points:
        for folder, record in zip(point.folders, point.records, strict=True):
            took = about_of(record).number, (point.sweep, point.label), median(record.run.seconds.inference)
            runs[folder.parent].append(took)
    found: dict[tuple[str, str], Seconds] = {(point.sweep, point.label): {} for point in points}
    current = 1
    for _, taken in sorted(runs.items()):
        seen: set[tuple[str, str]] = set()
        for _, name, seconds in sorted(taken):
            if name in seen:
                seen, current = set(), current + 1
            seen.add(name)
            found[name][current] = seconds
        current += 1 + current % 2
    return found
