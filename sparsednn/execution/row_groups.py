"""Runs the row groups of one process on a backend, for an executor that refers to them by number."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsednn.backend import MEET_NS, MULTIPLY_ADDS, SCORE, WORK, Backend, Control, GroupResult, Outcome, Team
from sparsednn.execution.base import Report
from sparsednn.rows.distribution import Share
from sparsednn.rows.partition import RowGroup

if TYPE_CHECKING:
    from sparsednn.execution.shared_queues import SharedQueues

SPINS_WITH_CORES, SPINS_WITHOUT = 2000, 20
"""How often a member of a team looks for the others before it gives its core away: with a core for each thread, and with
fewer."""

LOGGED_WAITS = 10_000
"""Waits of each member of a team that a trace keeps."""


class FinishedGroup(NamedTuple):
    """A finished row group and its results."""

    row_group: RowGroup
    result: GroupResult


class RowGroups:
    """The row groups that one process runs, by number: opened on the backend's plan when first run, closed when through.

    This is all that an executor sees of rows, plan and backend. Threads may call it at once, but one team at a time
    runs a row group.

    Parameters
    ----------
    backend : Backend
    plan : the backend's own
    groups : sequence of RowGroup
        The process's own, by number.
    uncut : Share, optional
        The rows of the process, if the scheduler cuts them into row groups itself.
    control : Control
    n_layers : int
        Of the plan.
    n_cores : int
        Cores that this process's workers have.
    output : bool
        Whether the last activations are wanted.
    queues : SharedQueues, optional
        The queues of all processes, if they take from each other: then only what has been taken is run here.
    trace : bool
        Whether the waits of a team's members are logged.
    """

    def __init__(
        self, backend: Backend, plan: Any, groups: Sequence[RowGroup], control: Control, *, n_layers: int, n_cores: int,
        uncut: Share | None = None, output: bool = False, queues: SharedQueues | None = None, trace: bool = False,
    ) -> None:  # fmt: skip
        self._backend, self._plan, self._control = backend, plan, control
        self._n_layers, self._output, self._queues = n_layers, output, queues
        self._spins = SPINS_WITH_CORES if len(control.calls) <= n_cores else SPINS_WITHOUT
        self._log = LOGGED_WAITS if trace else 0
        self._uncut, self._n_cut = uncut, 0
        self._groups = dict(enumerate(groups))
        self._expected = set() if queues is not None else set(self._groups)
        self._open: dict[int, Any] = {}
        self._results: dict[int, GroupResult] = {}
        self._lock = threading.Lock()

    def team(self, workers: tuple[int, ...]) -> Team:
        """Return a new team of one or more workers; the first one leads."""
        return Team.of(workers, self._spins, self._log if len(workers) > 1 else 0)

    def open(self, worker: int, row_group: int) -> None:
        """Get a row group ready in the memory of `worker`, if it is not yet; before any team runs it."""
        if row_group not in self._open:
            group = self._groups[row_group]
            self._open[row_group] = self._backend.open(self._plan, group.inputs, group.rows, worker, output=self._output)
            self._control.progress[worker, [SCORE, WORK]] = 0

    def take(self, worker: int, process: int) -> int | None:
        """Take the next row group of a process's queue; return its number here, or None if there is none left."""
        if self._queues is None:
            raise RuntimeError("the scheduler takes row groups from processes, but they share no queues")
        taken = self._queues.take(process)
        if taken is None:
            return None
        number, fetched = taken
        with self._lock:
            if fetched is not None:
                number = len(self._groups)
                self._groups[number] = fetched
            self._expected.add(number)
        return number

    def cut(self, row_group: int, start: int, stop: int) -> None:
        """Make a row group of the rows ``start..stop-1`` of the process, in the order in which they are neighbours."""
        if self._uncut is None or row_group != len(self._groups) or start != self._n_cut:
            raise RuntimeError(f"the scheduler cuts rows {start} to {stop} as row group {row_group}, which are not there")
        rows = np.sort(self._uncut.order[start:stop])
        self._groups[row_group] = RowGroup(self._uncut.rows, rows, self._uncut.ids[rows])
        self._expected.add(row_group)
        self._n_cut = stop

    def multiply_adds(self, row_group: int) -> int:
        """Return how many multiply-adds a row group that is through has taken."""
        return self._results[row_group].multiply_adds

    def run(self, row_group: int, team: Team, member: int) -> Report:
        """Take a row group on from where it is, as one member of its team, until it is through or the team has to leave."""
        group, leader = self._open[row_group], team.workers[0]
        first_layer = int(self._control.progress[leader, SCORE])
        outcome = self._backend.run(self._plan, group, self._control, team, member)
        if outcome is Outcome.THROUGH and member == 0:
            self._results[row_group] = self._backend.close(self._plan, self._open.pop(row_group))
        last_layer = self._n_layers if outcome is Outcome.THROUGH else int(self._control.progress[leader, SCORE])
        return Report(
            outcome,
            first_layer=first_layer,
            last_layer=last_layer,
            multiply_adds=team.counter(member, MULTIPLY_ADDS),
            meet_s=team.counter(member, MEET_NS) * 1e-9,
            waits=team.waits(member),
        )

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

    def finished(self) -> list[FinishedGroup]:
        """Return the results of all row groups that were to be run here, by number."""
        if self._uncut is not None and self._n_cut != len(self._uncut.ids):
            raise RuntimeError(f"the scheduler stopped all workers but cut only {self._n_cut} of {len(self._uncut.ids)} rows")
        if self._uncut is not None and not self._groups:
            self._run_no_rows()
        missing = sorted(self._expected - self._results.keys())
        if missing:
            raise RuntimeError(f"the scheduler stopped all workers but left row groups {missing} unfinished")
        return [FinishedGroup(self._groups[number], self._results[number]) for number in sorted(self._results)]

    def _run_no_rows(self) -> None:
        """Run a row group without rows, where there was nothing to cut: the output of this process has its columns."""
        assert self._uncut is not None
        none = np.zeros(0, np.int64)
        self._groups[0] = RowGroup(self._uncut.rows, none, none)
        self.open(0, 0)
        self.run(0, self.team((0,)), 0)
