"""Implements work stealing between processes: each has a queue of row groups, and takes from others when its own is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sparsednn.schedulers.base import (
    SPLIT_FACTORS,
    Action,
    Boundary,
    Event,
    Finished,
    Job,
    Run,
    Scheduler,
    Started,
    Stop,
    Take,
    Taken,
    require,
)


class GlobalWorkStealingScheduler(Scheduler):
    """A worker takes the head of its process's queue, and when that is empty, of the next process's that is not.

    Beyond the paper, whose processes exchange nothing. What a queue's head is, only the process that has it knows: it is asked
    with `Take`.
    """

    name = "global_work_stealing"
    takes_from_processes = True
    tuned: ClassVar[Mapping[str, tuple[Any, ...]]] = {"split_factor": SPLIT_FACTORS}

    #: All processes, this one first, then those with higher numbers and around; the same during a run.
    ring: tuple[int, ...]

    #: Processes whose queues are not known to be empty, in the order of `ring`; once out, a process never comes back.
    processes: list[int]

    def n_row_groups(self, n_workers: int) -> int:
        """`split_factor` row groups for each worker."""
        return n_workers * self.options.split_factor

    def start(self, job: Job) -> None:
        """Treat no queue as empty."""
        self.ring = tuple((job.process + step) % job.n_processes for step in range(job.n_processes))
        self.processes = list(self.ring)

    def on_event(self, event: Event) -> list[Action]:
        """Take from the first process that is not known to be empty; stop when all are."""
        match event:
            case Boundary(worker, row_group):  # only if somebody called it
                return [Run(worker, row_group)]
            case Taken(worker, process, row_group):
                if row_group is not None:
                    return [Run(worker, row_group)]
                if process in self.processes:  # another worker may have found out as well
                    self.processes.remove(process)
            case Started() | Finished():
                pass
        if not self.processes:
            return [Stop(event.worker)]
        return [Take(event.worker, self.processes[0])]

    def validate(self) -> None:
        """See `Scheduler.validate`."""
        require(sorted(self.ring) == list(range(len(self.ring))), "ring: it has every process once")
        left = [process for process in self.ring if process in self.processes]
        require(self.processes == left, "processes: they are some of the ring, each once and in its order")
