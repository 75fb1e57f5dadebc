"""Claims on what threads do to each other: caches, locks, barriers, movement of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from experiments.figures import locking, parallelisms, straggler_timeline
from experiments.figures._groups import scheduler
from experiments.records import Point
from experiments.report.claim import HOLDS, NONE, NOT, PARTLY, UNTESTED, Claim, Runs, points_of, untested


def cache_use(runs: Runs) -> Claim:
    """Data parallelism uses the last-level cache badly, model parallelism well."""
    text = "Data parallelism uses the last-level cache badly, model parallelism well"
    points = points_of(runs, "parallelisms")
    if points is None:
        return untested(text, "parallelisms")
    shares = _from_cache(points.of(parallelisms.SIMULATED))
    varied = {
        name: _from_cache([p for p in points.of(parallelisms.CACHES) if parallelisms.assumption(p) == name])
        for name in dict.fromkeys(parallelisms.assumption(p) for p in points.of(parallelisms.CACHES))
    }
    if not {"data", "model"} <= shares.keys():
        return untested(text, "parallelisms")
    gap = shares["model"] - shares["data"]
    always = all(found["model"] > found["data"] for found in varied.values() if {"data", "model"} <= found.keys())
    return Claim(
        text,
        "not measured (no counters of caches here)",
        "estimated share of what is touched that the cache has: " + _percents(shares),
        "; ".join(f"{name}: {_percents(found)}" for name, found in varied.items()) or NONE,
        HOLDS if gap > 0.1 and always else PARTLY if gap > 0 else NOT,
        "An estimate by a cache that forgets the least recently used. Members of a team all read the same activations, which "
        "counts as use of the cache.",
        ("parallelisms",),
    )


def _from_cache(points: Sequence[Point]) -> dict[str, float]:
    """Mean share that comes from the cache, by scheduler."""
    found: dict[str, list[float]] = {}
    for point in points:
        if "traffic" in point.record:
            found.setdefault(scheduler(point), []).append(point.record["traffic"]["from_cache"])
    return {name: fmean(values) for name, values in found.items()}


def _percents(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())


def _locking_claim(
    runs: Runs, text: str, value: Callable[[Point], float], judge: Callable[[Mapping[str, float]], str], why: str
) -> Claim:
    """A claim on shares of the workers' time, by scheduler."""
    points = points_of(runs, "locking")
    if points is None:
        return untested(text, "locking")
    here, there = ({scheduler(p): value(p) for p in points.of(sweep)} for sweep in ("measured", "simulated"))
    by_network: dict[str, list[float]] = {}
    for point in points.of("simulated"):
        by_network.setdefault(scheduler(point), []).append(value(point))
    there = {name: fmean(values) for name, values in by_network.items()}
    verdicts = {judge(found) for found in (here, there) if found}
    verdict = verdicts.pop() if len(verdicts) == 1 else PARTLY if verdicts else UNTESTED
    spread = "; ".join(f"{name} {100 * min(v):.2f} to {100 * max(v):.2f} %" for name, v in by_network.items())
    return Claim(text, _shares(here), _shares(there), f"by network: {spread or NONE}", verdict, why, ("locking",))


def _shares(found: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {100 * share:.2f} %" for name, share in found.items()) or NONE


def no_contention(runs: Runs) -> Claim:
    """Waiting for locks."""
    return _locking_claim(
        runs,
        "data_then_model has no contention: hardly any time is spent waiting for the queue's lock",
        lambda point: locking.shares(point)["lock"],
        lambda found: HOLDS if found.get("data_then_model", 1.0) < 0.01 else NOT,
        "Share of all workers' time that they wait for the scheduler's lock; below 1 % counts as none.",
    )


def less_synchronisation(runs: Runs) -> Claim:
    """Meeting in teams."""
    return _locking_claim(
        runs,
        "data_then_model synchronises less than model parallelism",
        lambda point: locking.shares(point)["meet"],
        lambda found: HOLDS if found.get("data_then_model", 1.0) < found.get("model", 0.0) else NOT,
        "Share of all workers' time that they wait at team barriers.",
    )


def small_overhead(runs: Runs) -> Claim:
    """The locking mechanism as a whole."""
    return _locking_claim(
        runs,
        "The locking mechanism of data_then_model (reporting, asking, recruiting) takes little of the time",
        lambda point: sum(locking.shares(point)[part] for part in ("enlist", "probe", "recruit", "lock")),
        lambda found: HOLDS if found.get("data_then_model", 1.0) < 0.02 else NOT,
        "Below 2 % counts as little.",
    )


def zero_movement(runs: Runs) -> Claim:
    """Row groups stay where they are."""
    text = "Recruiting moves no data: a leader's row group stays where it is"
    run = runs.get("straggler_timeline")
    if run is None:
        return untested(text, "straggler_timeline")
    said, moved_any = {"measured": NONE, "simulated": NONE}, False
    for point in run.points.points:
        if scheduler(point) == "data_then_model" and point.sweep in said:
            moved, total = straggler_timeline.moved_row_groups(straggler_timeline.trace_of(point.folders[0]))
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
