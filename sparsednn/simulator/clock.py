"""Keeps virtual time: runs each action at its moment, or when a given amount of work is done.

All cores of a node share its memory bus (and, with more workers than cores, its cores), so that work goes the slower the more
workers are at it. Since it slows all of them down alike, there are two clocks: one of seconds, and one of the work that a
worker has done that had a node to itself; their ratio changes only when a worker begins or ends. Whatever is to happen waits on
one of the two, and nothing is stepped in between.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

_Entry = tuple[float, int, int, int, Callable[..., None], tuple[Any, ...]]


class VirtualTime:
    """Two clocks, and the actions that wait on them.

    Parameters
    ----------
    slowdown : sequence of float
        Entry n: seconds that n active workers each take for one second of work.

    Attributes
    ----------
    now_s, work_s : float
        The time, by both clocks.
    """

    def __init__(self, slowdown: Sequence[float]) -> None:
        self.now_s = 0.0
        self.work_s = 0.0
        self._slowdown = slowdown
        self._n_active = 0
        self._moments: list[_Entry] = []
        self._works: list[_Entry] = []
        self._numbers = itertools.count()

    def at(self, now_s: float, rank: int, worker: int, act: Callable[..., None], *arguments: Any) -> None:
        """Call `act` at a moment; at the same moment, lower ranks come first, then lower workers, then who asked first."""
        heapq.heappush(self._moments, (now_s, rank, worker, next(self._numbers), act, arguments))

    def after_work(self, work_s: float, rank: int, worker: int, act: Callable[..., None], *arguments: Any) -> None:
        """Call `act` when the clock of work shows `work_s`; calls at the same work have the same order as in `at`."""
        heapq.heappush(self._works, (work_s, rank, worker, next(self._numbers), act, arguments))

    def activate(self, n_workers: int) -> None:
        """Add `n_workers` to the workers that are working from now on; a negative number takes workers away."""
        self._n_active += n_workers

    def run(self) -> None:
        """Let time pass until nothing is left to happen."""
        while self._moments or self._works:
            _, _, _, _, act, arguments = self._next()
            act(*arguments)

    def _next(self) -> _Entry:
        """Turn both clocks to what happens next, and take it."""
        slowdown = self._slowdown[self._n_active]
        if self._works:
            due_s = self.now_s + max(self._works[0][0] - self.work_s, 0.0) * slowdown
            if not self._moments or (due_s, *self._works[0][1:4]) < self._moments[0][:4]:
                entry = heapq.heappop(self._works)
                self.now_s, self.work_s = due_s, max(self.work_s, entry[0])
                return entry
        entry = heapq.heappop(self._moments)
        self.work_s += (entry[0] - self.now_s) / slowdown
        self.now_s = entry[0]
        return entry
