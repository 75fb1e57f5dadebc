"""Declares a claim, judges ratios by claimed ranges, and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.records.read import Points
from experiments.report.collect import NewestRun

HOLDS, PARTLY, NOT, UNTESTED = "holds", "holds in part", "does not hold here", "not tested"
NONE = "-"

Runs = Mapping[str, NewestRun]


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and what came of it; each field is a text for readers.

    Attributes
    ----------
    sensitivity : str
        How much the simulated value depends on what the simulator assumes.
    why : str
        Explanation of a deviation, or limits of the verdict.
    sources : tuple of str
        Experiments that it rests on.
    region : str
        Where it holds: of machines, networks, instances a thread.
    """

    text: str
    measured: str
    simulated: str
    sensitivity: str
    verdict: str
    why: str
    sources: tuple[str, ...]
    region: str = NONE


def points_of(runs: Runs, name: str) -> Points | None:
    return runs[name].points if name in runs else None


def untested(text: str, *names: str) -> Claim:
    missing = " and ".join(f"experiment={name}" for name in names)
    return Claim(text, NONE, NONE, NONE, UNTESTED, f"No records: python run.py {missing}", names)


def within(ratios: Sequence[float], low: float, high: float) -> str:
    """Judge ratios by a claimed range: inside holds; all beyond its lower end, but not its upper one, holds in part."""
    if all(low <= ratio <= high for ratio in ratios):
        return HOLDS
    return PARTLY if any(ratio >= low for ratio in ratios) else NOT


def named(ratios: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()) or NONE
