"""What an executor is given and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sparsednn.backend import Crew, Outcome
from sparsednn.trace import Span


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one worker's call into the kernels.

    Attributes
    ----------
    outcome : Outcome
    first_layer, last_layer : int
        Layers of the row group that were finished before and after.
    multiply_adds : int
        Done by this worker.
    meet_s : float
        Seconds that it waited for other members of its team.
    waits : list of (start_s, stop_s)
        The longer ones of these waits, if they are logged; seconds of `time.perf_counter`.
    """

    outcome: Outcome
    first_layer: int = 0
    last_layer: int = 0
    multiply_adds: int = 0
    meet_s: float = 0.0
    waits: tuple[tuple[float, float], ...] = ()


class Tasks(Protocol):
    """The work of one run, as an executor sees it: numbered row groups, run by crews of workers."""

    def crew(self, workers: tuple[int, ...]) -> Crew:
        """Return a new crew of one or more workers; the first one leads."""

    def open(self, worker: int, row_group: int) -> None:
        """Get a row group ready in the memory of `worker`, if it is not yet; before any crew runs it."""

    def run(self, row_group: int, crew: Crew, member: int) -> Report:
        """Take a row group on from where it is, as one member of its crew, until it is through or the crew has to leave."""

    def call(self, worker: int, from_layer: int) -> None:
        """Ask the kernels of a worker to return at their next layer boundary, from layer `from_layer` on."""

    def dismiss(self, worker: int) -> None:
        """Take a call back."""

    def scores(self) -> tuple[int, ...]:
        """Return for each worker how many layers of its current row group are finished."""

    def work(self, worker: int) -> int:
        """Return the multiply-adds that the next layer of the worker's row group is expected to take."""

    def take(self, worker: int, process: int) -> int | None:
        """Take the next row group of a process's queue; return its number here, or None if there is none left."""

    def request_stop(self) -> None:
        """Ask all kernels to return at their next layer boundary."""


@dataclass(slots=True)
class WorkerTimes:
    """Where one worker's time went, in seconds. All but the last three are parts of the run's time.

    Attributes
    ----------
    worker : int
    busy_s : float
        In kernels, meetings of teams aside.
    enlist_s : float
        Reporting that it is free, until the scheduler has decided.
    probe_s : float
        Asking for helpers at layer boundaries, in vain; or standing there as a member while the leader asks.
    recruit_s : float
        Asking for helpers at layer boundaries, and getting some.
    meet_s : float
        Waiting for other members of a team, in every layer.
    wait_s : float
        Asleep in the idle queue.
    lock_s : float
        Waiting for the lock under which decisions are made.
    fetch_s : float
        Taking row groups from queues that processes share, and fetching the rows of another process's.
    idle_s : float
        The rest: starting, nothing left to do.
    locking_s : float
        What the protocol costs: enlist, probe, recruit, meet and lock together.
    row_groups : int
        Row groups that this worker finished, alone or as leader.
    multiply_adds : int
        That this worker did.
    """

    worker: int
    busy_s: float = 0.0
    enlist_s: float = 0.0
    probe_s: float = 0.0
    recruit_s: float = 0.0
    meet_s: float = 0.0
    wait_s: float = 0.0
    lock_s: float = 0.0
    fetch_s: float = 0.0
    idle_s: float = 0.0
    locking_s: float = 0.0
    row_groups: int = 0
    multiply_adds: int = 0

    def close(self, elapsed_s: float) -> None:
        """Work out what follows from the rest, at the end of a run of `elapsed_s`."""
        self.locking_s = self.enlist_s + self.probe_s + self.recruit_s + self.meet_s + self.lock_s
        self.idle_s = max(elapsed_s - self.busy_s - self.locking_s - self.wait_s - self.fetch_s, 0.0)


@dataclass(frozen=True, slots=True)
class Timeline:
    """One run: how long it took, where each worker's time went, and, if it was traced, what each did when."""

    elapsed_s: float
    times: list[WorkerTimes]
    spans: list[Span]
