"""The row groups of one run, as an executor sees them: backend, plan and inputs behind numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import scipy.sparse as sp

from sparsednn.backend import STOP_FLAG, Backend, Control, Crew, GroupResult, Outcome
from sparsednn.executors import Report
from sparsednn.partition import Partition

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


class GroupTasks:
    """The row groups of one run, opened when first run and closed when through."""

    def __init__(self, job: Prepared, partition: Partition, control: Control, n_cores: int, *, trace: bool = False) -> None:
        n_workers = len(control.calls)
        self._job = job
        self._partition = partition
        self._control = control
        self._spins = SPINS_WITH_CORES if n_workers <= n_cores else SPINS_WITHOUT
        self._log = LOGGED_WAITS if trace else 0
        self._open: dict[int, Any] = {}
        self._results: list[GroupResult | None] = [None] * len(partition.groups)

    def crew(self, workers: tuple[int, ...]) -> Crew:
        """Return a new crew of one or more workers; the first one leads."""
        return Crew.of(workers, self._spins, self._log if len(workers) > 1 else 0)

    def open(self, worker: int, row_group: int) -> None:
        """Get a row group ready, if it is not yet."""
        if row_group not in self._open:
            job, rows = self._job, self._partition.groups[row_group].rows
            self._open[row_group] = job.backend.open(job.plan, job.inputs, rows, worker, job.output)
            self._control.progress[worker, 1:] = 0

    def run(self, row_group: int, crew: Crew, member: int) -> Report:
        """Take a row group on from where it is, as one member of its crew."""
        job, group, leader = self._job, self._open[row_group], crew.workers[0]
        first_layer = int(self._control.progress[leader, 1])
        outcome = job.backend.run(job.plan, group, self._control, crew, member)
        if outcome is Outcome.THROUGH and member == 0:
            self._results[row_group] = job.backend.close(job.plan, self._open.pop(row_group))
        last_layer = job.n_layers if outcome is Outcome.THROUGH else int(self._control.progress[leader, 1])
        return Report(
            outcome, first_layer, last_layer, crew.figure(member, Crew.MULTIPLY_ADDS), crew.figure(member, Crew.MEET_NS) * 1e-9,
            crew.waits(member),
        )  # fmt: skip

    def call(self, worker: int, from_layer: int) -> None:
        """Ask the kernels of a worker to return at their next layer boundary, from layer `from_layer` on."""
        self._control.calls[worker, 0] = 1 + from_layer

    def dismiss(self, worker: int) -> None:
        """Take a call back."""
        self._control.calls[worker, 0] = 0

    def scores(self) -> tuple[int, ...]:
        """Return for each worker how many layers of its current row group are finished."""
        return tuple(self._control.progress[:, 1].tolist())

    def work(self, worker: int) -> int:
        """Return the multiply-adds that the next layer of the worker's row group is expected to take."""
        return int(self._control.progress[worker, 2])

    def request_stop(self) -> None:
        """Ask all kernels to return at their next layer boundary."""
        self._control.flags[STOP_FLAG] = 1

    def finished(self) -> list[GroupResult]:
        """Return the results of all row groups."""
        results = [result for result in self._results if result is not None]
        if len(results) != len(self._results):
            missing = [number for number, result in enumerate(self._results) if result is None]
            raise RuntimeError(f"the scheduler stopped all workers but left row groups {missing} unfinished")
        return results
