"""What a scheduler is: a pure state machine from events to actions.

A scheduler decides and an executor acts. A scheduler has no clock, no lock and no thread: the executor calls `on_event` for one
event at a time and carries out the actions it returns, in real or in virtual time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has started and has nothing to do."""

    worker: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker has taken a row group through the last layer."""

    worker: int
    row_group: int


Event = Started | Finished


@dataclass(frozen=True, slots=True)
class Run:
    """The worker takes a row group through to the last layer."""

    worker: int
    row_group: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The worker ends: there will be no more work for it."""

    worker: int


Action = Run | Stop


@dataclass(frozen=True, slots=True)
class Job:
    """The size of what is to be scheduled in one process."""

    n_workers: int
    n_row_groups: int
    n_layers: int


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """Parameters of all schedulers; those that a scheduler has no use for are inert.

    Attributes
    ----------
    split_factor : int
        Row groups for each worker, where workers take them from queues.
    """

    split_factor: int = 8

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.split_factor < 1:
            raise ValueError(f"split_factor={self.split_factor}: at least 1 is needed")


class Scheduler(ABC):
    """Decides which worker runs which row group, and when.

    A scheduler is used for one run after another: `start` forgets the last one.
    """

    name: str

    def __init__(self, options: SchedulerOptions | None = None) -> None:
        self.options = options or SchedulerOptions()

    @abstractmethod
    def n_row_groups(self, n_workers: int) -> int:
        """Return into how many row groups the rows of one process are to be split."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Get ready for a new run."""

    @abstractmethod
    def on_event(self, event: Event) -> list[Action]:
        """Take note of an event and return what is to be done now, in order."""
