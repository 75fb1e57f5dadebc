"""Implements the parallelisms over queues of row groups, many for each worker, of which a slow worker takes fewer.

Both split a process's rows into ``n_workers * split_factor`` row groups. They differ in where a worker looks for its next one.
They are the paper's two task-based parallelisms. In its program a lock guards each queue; here the executor's lock guards all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

from sparsednn.schedulers.base import SPLIT_FACTORS, Action, Boundary, Event, Job, Run, Scheduler, Stop, require


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

    #: Row groups of the job; the same during a run.
    n_in_all: int

    #: All and only row groups that no worker has taken, in ascending order: the last ones of the job.
    queue: deque[int]

    def start(self, job: Job) -> None:
        """Put all row groups into the queue."""
        self.n_in_all = job.n_row_groups
        self.queue = deque(range(job.n_row_groups))

    def validate(self) -> None:
        """See `Scheduler.validate`."""
        left = list(range(self.n_in_all))[-len(self.queue) :] if self.queue else []
        require(list(self.queue) == left, "queue: it holds the last row groups of the job, in ascending order")

    def take(self, worker: int) -> int | None:
        """Take the head of the queue."""
        return self.queue.popleft() if self.queue else None


class WorkStealingScheduler(_QueueScheduler):
    """One queue a worker; a worker takes the head of its own, and when that is empty, of the next that is not."""

    name = "work_stealing"

    #: Where the row groups of each worker begin and end, ``n_workers + 1`` numbers; ascending, and the same during a run.
    bounds: list[int]

    #: For each worker, those of its row groups that nobody has taken: the last ones, in ascending order.
    queues: list[deque[int]]

    def start(self, job: Job) -> None:
        """Give each worker a queue of neighbouring row groups."""
        self.bounds = [worker * job.n_row_groups // job.n_workers for worker in range(job.n_workers + 1)]
        self.queues = [deque(range(first, last)) for first, last in pairwise(self.bounds)]

    def validate(self) -> None:
        """See `Scheduler.validate`."""
        require(self.bounds == sorted(self.bounds), "bounds: they ascend")
        require(len(self.queues) == len(self.bounds) - 1, "queues: each worker has one")
        for (first, last), queue in zip(pairwise(self.bounds), self.queues, strict=True):
            left = list(range(first, last))[-len(queue) :] if queue else []
            require(list(queue) == left, "queues: each holds the last row groups of its worker, in ascending order")

    def take(self, worker: int) -> int | None:
        """Walk the queues from the worker's own on, and take the first head there is."""
        for step in range(len(self.queues)):
            queue = self.queues[(worker + step) % len(self.queues)]
            if queue:
                return queue.popleft()
        return None
