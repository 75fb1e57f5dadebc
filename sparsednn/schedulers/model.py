"""Implements model parallelism: a process has one row group, and all its workers split the columns of every layer.

The paper's baseline of that name: the threads of a process meet at a barrier in every layer.
"""

from __future__ import annotations

from sparsednn.schedulers.base import (
    Action,
    Boundary,
    Event,
    Finished,
    FormTeam,
    Job,
    Scheduler,
    Sleep,
    Started,
    Stop,
    Taken,
    require,
)


class ModelScheduler(Scheduler):
    """One team of all workers, from the first layer to the last."""

    name = "model"
    one_row_group = True

    #: Workers of the team; at least one, and the same during a run.
    n_workers: int

    #: Workers that have started; the team is formed when there are `n_workers` of them. Numbers from 0 to ``n_workers - 1``.
    ready: set[int]

    def n_row_groups(self, n_workers: int) -> int:
        """One row group for all workers."""
        return 1

    def start(self, job: Job) -> None:
        """Wait for all workers."""
        if job.n_row_groups != 1:
            raise ValueError(f"model: {job.n_row_groups} row groups; one for all workers is needed")
        self.n_workers = job.n_workers
        self.ready = set()

    def on_event(self, event: Event) -> list[Action]:
        """The team is formed when the last worker has started, and stops when the row group is through."""
        match event:
            case Started(worker):
                self.ready.add(worker)
                if len(self.ready) < self.n_workers:
                    return [Sleep(worker)]
                return [FormTeam(0, tuple(range(self.n_workers)))]
            case Taken():  # only if somebody has asked for that
                return []
            case Finished():
                return [Stop(worker) for worker in range(self.n_workers)]
            case Boundary():  # only if somebody called it
                return [FormTeam(0, tuple(range(self.n_workers)))]

    def validate(self) -> None:
        """See `Scheduler.validate`."""
        require(self.n_workers >= 1, "n_workers: a team has at least one worker")
        require(self.ready <= set(range(self.n_workers)), "ready: only workers of the job have started")
