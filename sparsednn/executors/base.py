"""What an executor is given and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Tasks(Protocol):
    """The work of one run, as an executor sees it: numbered row groups."""

    def run(self, worker: int, row_group: int) -> bool:
        """Take a row group from where it is to the last layer; False when stopped early at a layer boundary."""

    def request_stop(self) -> None:
        """Ask all kernels to return at their next layer boundary."""


@dataclass(slots=True)
class WorkerTimes:
    """Where one worker's time went.

    Attributes
    ----------
    worker : int
    busy_s, idle_s : float
        Seconds spent on row groups, and the rest of the run.
    lock_s : float
        Seconds of it spent on waiting for the lock under which decisions are made.
    row_groups : int
        Row groups that this worker finished.
    """

    worker: int
    busy_s: float = 0.0
    idle_s: float = 0.0
    lock_s: float = 0.0
    row_groups: int = 0
