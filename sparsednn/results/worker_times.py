"""Where the time of one worker went."""

from __future__ import annotations

from dataclasses import dataclass


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
