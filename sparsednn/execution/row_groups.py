"""The row groups of one run, as an executor sees them: backend, plan and inputs behind numbers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.backend import MEET_NS, MULTIPLY_ADDS, SCORE, WORK, Backend, Control, Crew, GroupResult, Outcome
from sparsednn.execution.base import Report
from sparsednn.rows.partition import Partition

SPINS_WITH_CORES, SPINS_WITHOUT = 2000, 20
"""How often a member of a team looks for the others before it gives its core away: with a core for each thread, and with
fewer."""

LOGGED_WAITS = 10_000
"""Waits of each member of a team that a trace keeps."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and the inputs it is to be run on."""

    backend: Backend
    plan: Any
    inputs: sp.csr_array
    n_layers: int
    output: bool


@dataclass(frozen=True, slots=True)
class RowSource:
    """The rows of a row group: these of the matrix, whose ids among the rows of all processes are given."""

    inputs: sp.csr_array
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]


def row_sources(inputs: sp.csr_array, partition: Partition) -> list[RowSource]:
    """Return the row groups of a partition of all rows of a matrix."""
    return [RowSource(inputs, group.rows, group.rows) for group in partition.groups]


Finished = tuple[RowSource, GroupResult]


class Stealing(Protocol):
    """The queues of row groups of all processes."""

    def take(self, process: int) -> tuple[int, RowSource | None] | None:
        """Take the head of a process's queue: its number there, and its rows if it is not this process's; None if empty."""


class GroupTasks:
    """The row groups that one process runs, opened when first run and closed when through.

    Parameters
    ----------
    job : Prepared
    sources : sequence of RowSource
        The process's own row groups, by number.
    control : Control
    n_cores : int
    stealing : Stealing, optional
        The queues of all processes, if they take from each other: then only what has been taken is run here.
    trace : bool
    """

    def __init__(
        self, job: Prepared, sources: Sequence[RowSource], control: Control, n_cores: int, *, stealing: Stealing | None = None,
        trace: bool = False,
    ) -> None:  # fmt: skip
        n_workers = len(control.calls)
        self._job = job
        self._control = control
        self._spins = SPINS_WITH_CORES if n_workers <= n_cores else SPINS_WITHOUT
        self._log = LOGGED_WAITS if trace else 0
        self._open: dict[int, Any] = {}
        self._stealing = stealing
        self._lock = threading.Lock()
        self._sources = dict(enumerate(sources))
        self._expected = set() if stealing is not None else set(self._sources)
        self._results: dict[int, GroupResult] = {}

    def crew(self, workers: tuple[int, ...]) -> Crew:
        """Return a new crew of one or more workers; the first one leads."""
        return Crew.of(workers, self._spins, self._log if len(workers) > 1 else 0)

    def open(self, worker: int, row_group: int) -> None:
        """Get a row group ready, if it is not yet."""
        if row_group not in self._open:
            job, source = self._job, self._sources[row_group]
            self._open[row_group] = job.backend.open(job.plan, source.inputs, source.rows, worker, job.output)
            self._control.progress[worker, [SCORE, WORK]] = 0

    def take(self, worker: int, process: int) -> int | None:
        """Take the next row group of a process's queue; return its number here, or None if there is none left."""
        if self._stealing is None:
            raise RuntimeError("the scheduler takes row groups from processes, but they share no queues")
        taken = self._stealing.take(process)
        if taken is None:
            return None
        number, source = taken
        with self._lock:
            if source is not None:
                number = len(self._sources)
                self._sources[number] = source
            self._expected.add(number)
        return number

    def run(self, row_group: int, crew: Crew, member: int) -> Report:
        """Take a row group on from where it is, as one member of its crew."""
        job, group, leader = self._job, self._open[row_group], crew.workers[0]
        first_layer = int(self._control.progress[leader, SCORE])
        outcome = job.backend.run(job.plan, group, self._control, crew, member)
        if outcome is Outcome.THROUGH and member == 0:
            self._results[row_group] = job.backend.close(job.plan, self._open.pop(row_group))
        last_layer = job.n_layers if outcome is Outcome.THROUGH else int(self._control.progress[leader, SCORE])
        return Report(
            outcome, first_layer, last_layer, crew.figure(member, MULTIPLY_ADDS), crew.figure(member, MEET_NS) * 1e-9,
            crew.waits(member),
        )  # fmt: skip

    def call(self, worker: int, from_layer: int) -> None:
        """Ask the kernels of a worker to return at their next layer boundary, from layer `from_layer` on."""
        self._control.call(worker, from_layer)

    def dismiss(self, worker: int) -> None:
        """Take a call back."""
        self._control.dismiss(worker)

    def scores(self) -> tuple[int, ...]:
        """Return for each worker how many layers of its current row group are finished."""
        return tuple(self._control.progress[:, SCORE].tolist())

    def work(self, worker: int) -> int:
        """Return the multiply-adds that the next layer of the worker's row group is expected to take."""
        return int(self._control.progress[worker, WORK])

    def request_stop(self) -> None:
        """Ask all kernels to return at their next layer boundary."""
        self._control.request_stop()

    def finished(self) -> list[Finished]:
        """Return the results of all row groups that were to be run here, by number, with their rows."""
        missing = sorted(self._expected - self._results.keys())
        if missing:
            raise RuntimeError(f"the scheduler stopped all workers but left row groups {missing} unfinished")
        return [(self._sources[number], self._results[number]) for number in sorted(self._results)]
