"""What an executor is given and what it reports."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sparsednn.backend import Crew, Outcome
from sparsednn.results.spans import Span
from sparsednn.results.worker_times import WorkerTimes


class Report(NamedTuple):
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


class Timeline(NamedTuple):
    """One run: how long it took, where each worker's time went, and, if it was traced, what each did when."""

    elapsed_s: float
    times: list[WorkerTimes]
    spans: list[Span]
