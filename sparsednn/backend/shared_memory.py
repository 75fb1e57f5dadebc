"""Defines the memory that an executor shares with running kernels: stop flag, calls, progress, and a team's counts.

The constants are all that kernels may import of this library. Numba compiles them in, so the cache of compiled kernels is named
by a hash that covers this file (`backends.common.kernel_cache`), and this file imports nothing else of the library. All arrays
are int64, and what different threads write lies in different cache lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LINE = 8
"""Entries of a cache line of int64."""

STOP_FLAG = 0
"""Entry of `Control.flags`: not 0 asks kernels to return at the next layer boundary."""

CALL = 0
"""Entry of a worker's line of `Control.calls`: 0, or 1 + the layer from which on it is to return at a layer boundary."""

DONE, SCORE, WORK = range(3)
"""Entries of a worker's line of `Control.progress`: rows x layers finished, of all its row groups; layers finished of the
current row group (mean over its rows where these go different ways); multiply-adds that its next layer is expected to take."""

ARRIVED, MEETINGS, STEP, FIRST_MEMBER = 0, LINE, 2 * LINE, 3 * LINE
"""Where lines of `Team.shared` begin: how many members have arrived at a meeting; how many meetings were held; what the leader
has decided; and the lines of the members, one after the other."""

FIGURE, MULTIPLY_ADDS, MEET_NS, FROM, TO, LAYER_OPS = range(6)
"""Entries of a member's line: a number that it shows the others; multiply-adds it has done; nanoseconds it has waited for the
others; its first row and the one after its last; multiply-adds of the current layer."""

N_LOGGED, FIRST_LOGGED = 0, 1
"""Entries of a member's line of `Team.logs`: how many waits follow; start of the first, its end, start of the second, ..."""


class Outcome(Enum):
    """The reason why a backend has returned from a row group."""

    THROUGH = "through"
    CALLED = "called"
    STOPPED = "stopped"


class Control(NamedTuple):
    """Memory shared by the executor and the running kernels; a cache line for each worker.

    Attributes
    ----------
    flags : int64 array, shape (LINE,)
        Entry `STOP_FLAG`.
    calls : int64 array, shape (n_workers, LINE)
        Column `CALL`.
    progress : int64 array, shape (n_workers, LINE)
        Columns `DONE`, `SCORE` and `WORK`, of each worker that runs a row group or leads a team.
    """

    flags: NDArray[np.int64]
    calls: NDArray[np.int64]
    progress: NDArray[np.int64]

    @classmethod
    def for_workers(cls, n_workers: int) -> Control:
        """Make one with all flags and counts zero."""
        return cls(np.zeros(LINE, np.int64), np.zeros((n_workers, LINE), np.int64), np.zeros((n_workers, LINE), np.int64))

    def request_stop(self) -> None:
        """Ask all kernels to return at their next layer boundary."""
        self.flags[STOP_FLAG] = 1

    def stop_requested(self) -> bool:
        """Return whether kernels are to return at their next layer boundary."""
        return bool(self.flags[STOP_FLAG])

    def call(self, worker: int, from_layer: int) -> None:
        """Ask a worker to return at its next layer boundary, from layer `from_layer` on."""
        self.calls[worker, CALL] = 1 + from_layer

    def dismiss(self, worker: int) -> None:
        """Take a call back."""
        self.calls[worker, CALL] = 0

    def is_called(self, worker: int) -> bool:
        """Return whether a worker is to return at a layer boundary."""
        return bool(self.calls[worker, CALL])

    def must_leave(self, leader: int, score: int, *, fresh: bool) -> Outcome | None:
        """Return why a team has to leave at a layer boundary: `STOPPED`, `CALLED`, or None if it goes on.

        For backends in Python; compiled kernels have the same rule (`backends.numba_cpu.kernels.team.must_leave`).

        Parameters
        ----------
        leader : int
        score : int
            Layers of the row group that are finished.
        fresh : bool
            The team has taken no step yet: it is not called away, so that it gets on however often it is called.
        """
        if self.stop_requested():
            return Outcome.STOPPED
        called = int(self.calls[leader, CALL])
        return Outcome.CALLED if called and score >= called - 1 and not fresh else None


@dataclass(slots=True, eq=False, repr=False)
class Team:
    """The workers that run one row group: one, or a team that splits each layer. The first one leads.

    Attributes
    ----------
    workers : tuple of int
    shared : int64 array, shape (FIRST_MEMBER + n_members * LINE,)
        Zeroed memory of the team's own, used by the backend for meetings. Fresh for every team.
    spins : int
        How often a member that waits for others is to look again before it lets another thread have its core.
    logs : int64 array, shape (n_members, FIRST_LOGGED + 2 * n)
        The longer waits of each member for the others, in nanoseconds of `time.perf_counter`. Kept while there is room.
    """

    workers: tuple[int, ...]
    shared: NDArray[np.int64]
    spins: int
    logs: NDArray[np.int64]

    @classmethod
    def of(cls, workers: tuple[int, ...], spins: int = 0, log: int = 0) -> Team:
        """Make one with room to log `log` waits for each member."""
        n = len(workers)
        shared, logs = np.zeros(FIRST_MEMBER + n * LINE, np.int64), np.zeros((n, FIRST_LOGGED + 2 * log), np.int64)
        return cls(workers, shared, spins, logs)

    def counter(self, member: int, entry: int) -> int:
        """Return what a member has counted: `MULTIPLY_ADDS` or `MEET_NS` (time spent on waiting for the others)."""
        return int(self.shared[FIRST_MEMBER + LINE * member + entry])

    def count(self, member: int, multiply_adds: int) -> None:
        """Add to what a member has done, for backends that do not count in `shared` themselves."""
        self.shared[FIRST_MEMBER + LINE * member + MULTIPLY_ADDS] += multiply_adds

    def wait(self, member: int, start_ns: int, stop_ns: int) -> None:
        """Note that a member has waited for the others, for backends that do not note it in `shared` themselves."""
        self.shared[FIRST_MEMBER + LINE * member + MEET_NS] += stop_ns - start_ns
        log = self.logs[member]
        at = FIRST_LOGGED + 2 * int(log[N_LOGGED])
        if at + 2 <= len(log):
            log[at : at + 2] = start_ns, stop_ns
            log[N_LOGGED] += 1

    def waits(self, member: int) -> tuple[tuple[float, float], ...]:
        """Return start and end of the waits that a member has logged, in seconds of `time.perf_counter`."""
        log = self.logs[member]
        pairs = log[FIRST_LOGGED : FIRST_LOGGED + 2 * int(log[N_LOGGED])].reshape(-1, 2) * 1e-9
        return tuple((float(start), float(stop)) for start, stop in pairs)
