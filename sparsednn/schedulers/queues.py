"""Parallelisms over queues of row groups, many for each worker: a slow worker simply takes fewer.

Both split a process's rows into ``n_workers * split_factor`` row groups. They differ in where a worker looks for its next one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from sparsednn.schedulers.base import SPLIT_FACTORS, Action, Boundary, Event, Job, Run, Scheduler, Stop


class _QueueScheduler(Scheduler):
    """A worker that starts or has finished takes the next row group; one that finds none stops."""

    tuned: ClassVar[Mapping[str, tuple[Any, ...]]] = {"split_factor": SPLIT_FACTORS}

    def n_row_groups(self, n_workers: int) -> int:
        """`split_factor` row groups for each worker."""
        return n_workers * self.options.split_factor

    def on_event(self, event: Event) -> list[Action]:
        """Take the next row group, or stop."""
        if isinstance(event, Boundary):  # only if somebody called it
            return [Run(event.worker, event.row_group)]
        row_group = self.take(event.worker)
        return [Stop(event.worker)] if row_group is None else [Run(event.worker, row_group)]

    @abstractmethod
    def take(self, worker: int) -> int | None:
        """Take a row group out of a queue for `worker`; None if there is none left."""


class ManagerWorkerScheduler(_QueueScheduler):
    """One queue a process; workers take its head."""

    name = "manager_worker"

    def start(self, job: Job) -> None:
        """Put all row groups into the queue."""
        self.queue = deque(range(job.n_row_groups))

    def take(self, worker: int) -> int | None:
        """Take the head of the queue."""
        return self.queue.popleft() if self.queue else None


class WorkStealingScheduler(_QueueScheduler):
    """One queue a worker; a worker takes the head of its own, and when that is empty, of the next that is not."""

    name = "work_stealing"

    def start(self, job: Job) -> None:
        """Give each worker a queue of neighbouring row groups."""
        bounds = [worker * job.n_row_groups // job.n_workers for worker in range(job.n_workers + 1)]
        self.queues = [deque(range(bounds[worker], bounds[worker + 1])) for worker in range(job.n_workers)]

    def take(self, worker: int) -> int | None:
        """Walk the queues from the worker's own on, and take the first head there is."""
        for step in range(len(self.queues)):
            queue = self.queues[(worker + step) % len(self.queues)]
            if queue:
                return queue.popleft()
        return None
