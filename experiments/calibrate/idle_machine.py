"""Measures on a shared machine: waits until other programs leave the cores alone, and repeats disturbed measurements."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil

T = TypeVar("T")
MOST_CORES = 0.1
"""A measurement counts as quiet if other programs used at most so many cores meanwhile, on average."""

SLACK_S = 0.03
"""The system counts time in ticks: so much more is no sign of others."""

LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class _Clock:
    """Seconds since some moment: of the world, of this process on all cores, and of everybody on all cores."""

    now_s: float
    own_s: float
    all_s: float

    @classmethod
    def read(cls) -> _Clock:
        times = psutil.cpu_times()
        busy = (getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))
        return cls(time.perf_counter(), time.process_time(), sum(busy))


class Quiet:
    """Runs measurements while no other program uses the cores, as far as patience goes.

    Parameters
    ----------
    patience_s : float
        Seconds that may be spent in all on waiting and on measuring again.

    Attributes
    ----------
    n_disturbed, n_measured : int
        How many results had to be taken although others used more than `MOST_CORES`, and how many there are.
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.n_disturbed = 0
        self.n_measured = 0

    def run(self, measure: Callable[[], T]) -> T:
        """Call `measure` until it was not disturbed or patience is out; return what the least disturbed call returned."""
        best: tuple[float, T] | None = None
        self.n_measured += 1
        while True:
            self._wait()
            before = _Clock.read()
            result = measure()
            others, elapsed_s = _others(before), time.perf_counter() - before.now_s
            if best is None or others < best[0]:
                best = others, result
            if others == 0:
                return result
            self.patience_s -= elapsed_s
            if self.patience_s <= 0:
                self.n_disturbed += 1
                return best[1]

    def say(self) -> str:
        """Say how quiet it was."""
        return (
            f"{self.n_measured - self.n_disturbed} of {self.n_measured} measurements while other programs used "
            f"at most {MOST_CORES} cores"
        )

    def _wait(self) -> None:
        while self.patience_s > 0:
            before = _Clock.read()
            time.sleep(LOOK_S)
            if _others(before) == 0:
                return
            self.patience_s -= LOOK_S


def _others(before: _Clock) -> float:
    """Cores that others have used since then, on average; 0 if no more than is quiet."""
    after = _Clock.read()
    elapsed_s = after.now_s - before.now_s
    others_s = (after.all_s - before.all_s) - (after.own_s - before.own_s)
    return 0.0 if others_s <= MOST_CORES * elapsed_s + SLACK_S else others_s / max(elapsed_s, 1e-9)
