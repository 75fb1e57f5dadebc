"""Tests the claims on threads: caches, locks, barriers, movement of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from experiments.figures import locking, parallelisms, straggler_timeline
from experiments.figures.base.bars import grouped, network, scheduler
from experiments.records.read import Point
from experiments.report.claim import HOLDS, NONE, NOT, PARTLY, UNTESTED, Claim, Runs, points_of, untested


def cache_use(runs: Runs) -> Claim:
    """Test the claim that data parallelism uses the last-level cache badly, and model parallelism well."""
    text = "Data parallelism uses the last-level cache badly, model parallelism well"
    points = points_of(runs, "parallelisms")
    ratios = _traffic_ratios(points.of(parallelisms.SIMULATED)) if points else []
    if points is None or not ratios:
        return untested(text, "parallelisms")
    found = points.of(parallelisms.CACHES)
    names = dict.fromkeys(parallelisms.assumption(point) for point in found)
    varied = {name: _traffic_ratios([p for p in found if parallelisms.assumption(p) == name]) for name in names}
    every = [ratio for values in (ratios, *varied.values()) for ratio in values]
    return Claim(
        text,
        "not measured (no counters of caches here)",
        f"estimated traffic from memory with data parallelism: {_range(ratios)} times that with model parallelism, on the "
        f"busiest node, {len(ratios)} networks; mean {fmean(ratios):.1f}",
        "; ".join(f"{name}: {_range(values)} times" for name, values in varied.items() if values) or NONE,
        HOLDS if min(every) > 1.1 else PARTLY if fmean(ratios) > 1.1 else NOT,
        "An estimate by a cache that forgets the least recently used, with the published formats of 8 bytes a nonzero. Above "
        "1.1 everywhere counts as true: where the whole network fits into the cache, both read it once.",
        ("parallelisms",),
    )


def _traffic_ratios(points: Sequence[Point]) -> list[float]:
    """Return the estimated traffic of data parallelism over that of model parallelism, for each network that has both."""
    found = grouped([point for point in points if point.traffic is not None], network, scheduler)
    moved = [
        {way: float(point.traffic.memory_bytes) for way, point in ways.items() if point.traffic is not None}
        for ways in found.cells.values()
    ]
    return [ways["data"] / ways["model"] for ways in moved if ways.get("model") and "data" in ways]


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def _locking_claim(
    runs: Runs, text: str, value: Callable[[Point], float], judge: Callable[[Mapping[str, float]], str], why: str
) -> Claim:
    """A claim on shares of the workers' time, by scheduler."""
    points = points_of(runs, "locking")
    if points is None:
        return untested(text, "locking")
    here = {scheduler(point): value(point) for point in points.of("measured")}
    by_network: dict[str, list[float]] = {}
    for point in points.of("simulated"):
        by_network.setdefault(scheduler(point), []).append(value(point))
    there = {name: fmean(values) for name, values in by_network.items()}
    verdicts = {judge(found) for found in (here, there) if found}
    verdict = verdicts.pop() if len(verdicts) == 1 else PARTLY if verdicts else UNTESTED
    return Claim(text, _shares(here), _shares(there), _over_assumptions(runs, value), verdict, why, ("locking",))


def _over_assumptions(runs: Runs, value: Callable[[Point], float]) -> str:
    """Say between what a share of the workers' time lies over all assumptions, with the two parallelisms that have teams."""
    points = points_of(runs, "parallelisms")
    found: dict[str, list[float]] = {}
    for point in points.of(parallelisms.ASSUMPTIONS) if points else ():
        if scheduler(point) in ("model", "data_then_model"):
            found.setdefault(scheduler(point), []).append(value(point))
    spread = [f"{name} {100 * min(v):.2f} to {100 * max(v):.2f} %" for name, v in found.items()]
    return f"over all assumptions of parallelisms: {'; '.join(spread)}" if spread else NONE


def _shares(found: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {100 * share:.2f} %" for name, share in found.items()) or NONE


def no_contention(runs: Runs) -> Claim:
    """Test the claim on waiting for locks."""
    return _locking_claim(
        runs,
        "data_then_model has no contention: hardly any time is spent waiting for the queue's lock",
        lambda point: locking.shares(point)["lock"],
        lambda found: HOLDS if found.get("data_then_model", 1.0) < 0.01 else NOT,
        "Share of all workers' time that they wait for the scheduler's lock; below 1 % counts as none.",
    )


def less_synchronisation(runs: Runs) -> Claim:
    """Test the claim on meeting in teams."""
    return _locking_claim(
        runs,
        "data_then_model synchronises less than model parallelism",
        lambda point: locking.shares(point)["meet"],
        lambda found: HOLDS if found.get("data_then_model", 1.0) < found.get("model", 0.0) else NOT,
        "Share of all workers' time that they wait at team barriers.",
    )


def small_overhead(runs: Runs) -> Claim:
    """Test the claim on the locking mechanism as a whole."""
    return _locking_claim(
        runs,
        "The locking mechanism of data_then_model (reporting, asking, recruiting) takes little of the time",
        lambda point: sum(locking.shares(point)[part] for part in ("enlist", "probe", "recruit", "lock")),
        lambda found: HOLDS if found.get("data_then_model", 1.0) < 0.02 else NOT,
        "Below 2 % counts as little.",
    )


def zero_movement(runs: Runs) -> Claim:
    """Test the claim that row groups stay where they are."""
    text = "Recruiting moves no data: a leader's row group stays where it is"
    run = runs.get("straggler_timeline")
    if run is None:
        return untested(text, "straggler_timeline")
    said, moved_any = {"measured": NONE, "simulated": NONE}, False
    for point in run.points.points:
        if scheduler(point) == "data_then_model" and point.sweep in said:
            moved, total = straggler_timeline.moved_row_groups(straggler_timeline.trace_of(point))
            said[point.sweep] = f"{moved} of {total} row groups went on without the worker that had them first"
            moved_any |= moved > 0
    tested = any(value != NONE for value in said.values())
    return Claim(
        text,
        said["measured"],
        said["simulated"],
        NONE,
        UNTESTED if not tested else NOT if moved_any else HOLDS,
        "By the traces. Helpers read the row group's activations all the same, through the caches.",
        ("straggler_timeline",),
    )
