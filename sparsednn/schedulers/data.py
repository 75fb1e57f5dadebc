"""Implements data parallelism: every worker has its own row group, and nothing synchronises after the start.

The paper's baseline of that name: the rows are split once, over all threads of all processes.
"""

from __future__ import annotations

from sparsednn.schedulers.base import Action, Boundary, Event, Finished, Job, Run, Scheduler, Started, Stop, Taken


class DataScheduler(Scheduler):
    """Worker *i* runs row group *i* through all layers and stops. It has no state: an event says all that matters."""

    name = "data"

    def n_row_groups(self, n_workers: int) -> int:
        """One row group for each worker."""
        return n_workers

    def start(self, job: Job) -> None:
        """Check that there is one row group for each worker."""
        if job.n_row_groups != job.n_workers:
            raise ValueError(f"data: {job.n_row_groups} row groups for {job.n_workers} workers; one for each is needed")

    def on_event(self, event: Event) -> list[Action]:
        """A worker that starts runs its row group; one that has finished stops."""
        match event:
            case Started(worker):
                return [Run(worker, row_group=worker)]
            case Taken():  # only if somebody has asked for that
                return []
            case Finished(worker):
                return [Stop(worker)]
            case Boundary(worker, row_group):  # only if somebody called it
                return [Run(worker, row_group)]
