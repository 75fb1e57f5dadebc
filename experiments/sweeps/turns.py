"""Times contestants that answer the same batch in turn, round after round, each checked against ours first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter, sleep

import numpy as np

from experiments.sweeps.direct_peers import Call, Float32

OURS = "sparsednn"
SHARES = (50, 95, 99)
"""Percentiles of the times of a round's calls."""

IDLE, IDLE_S = "idle", 0.01
"""The name of the times of calls that come after a pause, and the pause: helpers of ours sleep by then."""

MOST_CALLS = 2000
"""The most calls of one round, each of which has a time of its own."""

FEW_ROUNDS, OUT_OF_REACH = 3, 3.0
"""A contestant who takes so many times what the fastest takes, by the medians of the first rounds, sits out the others."""

LONGEST_S = 2.0
"""A contestant whose first call takes longer, and `OUT_OF_REACH` times as long as ours, makes no other; that is its time."""

TOLERANCE = 1e-4
"""The largest difference, as a share of the largest activation: libraries add in orders of their own."""


class InTurn:
    """Contestants that answer the same batch, checked against ours, and then in turn.

    Parameters
    ----------
    x : float32 array, shape (instances, ...)
    ours : callable
    at : str
        What messages call the network and the batch.
    longest_s : float
        A contestant whose first call takes longer, and is out of reach, makes no other.
    """

    def __init__(self, x: Float32, ours: Call, at: str, longest_s: float = LONGEST_S) -> None:
        self.x, self.at = x, at
        self.calls: dict[str, Call] = {OURS: ours}
        self.once: dict[str, float] = {}
        began = perf_counter()
        self.expected = np.asarray(ours(x))
        self._too_long_s = max(longest_s, OUT_OF_REACH * (perf_counter() - began))
        self.left_out: list[str] = []
        self.failed: list[str] = []

    def add(self, name: str, call: Call) -> None:
        """Add a contestant, unless it is wrong; one that takes too long has made its only call."""
        began = perf_counter()
        found = np.asarray(call(self.x))
        took = perf_counter() - began
        if difference(found, self.expected) > TOLERANCE:
            self.failed.append(f"{name} differs by more than {TOLERANCE:g} of the largest value")
        elif took > self._too_long_s:
            self.once[name] = took
        else:
            self.calls[name] = call

    def times(
        self, rounds: int, warm_s: float, timed_s: float, idle_calls: int = 0
    ) -> dict[str, Mapping[str, list[float | None]]]:
        """Return the percentiles of the calls of each round, by contestant; None where it sat out."""
        names, kinds = list(self.calls), [*(f"p{share}" for share in SHARES), *([IDLE] if idle_calls else [])]
        found: dict[str, dict[str, list[float | None]]] = {
            name: {kind: [self.once.get(name), *[None] * (rounds - 1)] for kind in kinds} for name in (*names, *self.once)
        }
        for number in range(rounds):
            if number == FEW_ROUNDS:
                names = _within_reach({name: found[name]["p50"][:number] for name in names})
            for name in names[number % len(names) :] + names[: number % len(names)]:
                _timed(self.calls[name], self.x, warm_s, 10**9)
                times = _timed(self.calls[name], self.x, timed_s, MOST_CALLS)
                for share in SHARES:
                    found[name][f"p{share}"][number] = float(np.percentile(times, share))
                if idle_calls:
                    found[name][IDLE][number] = median(_after_a_pause(self.calls[name], self.x) for _ in range(idle_calls))
        return dict(found)


def difference(found: Float32, expected: Float32) -> float:
    """Return the largest difference, as a share of the largest expected value, or of 1 if that is smaller; infinity for NaN."""
    largest = float(np.abs(found - expected).max(initial=0)) / max(float(np.abs(expected).max(initial=0)), 1.0)
    return largest if np.isfinite(largest) else np.inf


def _within_reach(seconds: Mapping[str, Sequence[float | None]]) -> list[str]:
    """Return ours, and those who are not hopelessly slower than the fastest."""
    middles = {name: median([time for time in times if time is not None]) for name, times in seconds.items()}
    return [name for name, middle in middles.items() if name == OURS or middle <= OUT_OF_REACH * min(middles.values())]


def _timed(call: Call, x: Float32, for_s: float, most: int) -> list[float]:
    """Call again and again for a time; return the seconds of each call."""
    times: list[float] = []
    end = perf_counter() + for_s
    while len(times) < most:
        began = perf_counter()
        call(x)
        now = perf_counter()
        times.append(now - began)
        if now >= end:
            break
    return times


def _after_a_pause(call: Call, x: Float32) -> float:
    sleep(IDLE_S)
    began = perf_counter()
    call(x)
    return perf_counter() - began
