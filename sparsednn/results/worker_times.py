"""Declares the parts of one worker's time."""

from __future__ import annotations

from dataclasses import field

from sparsednn.system.json_fields import JsonPart, doc, json_part


@json_part
class WorkerFigures(JsonPart):
    """The parts of one worker's time, in seconds: all but the last three are parts of the run's time."""

    busy_s: float = field(default=0.0, metadata=doc("in kernels, waiting for the team's other members aside", "s"))
    enlist_s: float = field(default=0.0, metadata=doc("reporting that it is free, until the scheduler has decided", "s"))
    probe_s: float = field(
        default=0.0,
        metadata=doc("asking for helpers at layer boundaries, in vain; or standing there while the leader asks", "s"),
    )
    recruit_s: float = field(default=0.0, metadata=doc("asking for helpers at layer boundaries, and getting some", "s"))
    meet_s: float = field(default=0.0, metadata=doc("waiting for other members of a team, in every layer", "s"))
    wait_s: float = field(default=0.0, metadata=doc("asleep in the idle queue", "s"))
    lock_s: float = field(default=0.0, metadata=doc("waiting for the lock under which decisions are made", "s"))
    fetch_s: float = field(
        default=0.0,
        metadata=doc("taking row groups from queues that processes share, and fetching the rows of another process's", "s"),
    )
    idle_s: float = field(default=0.0, metadata=doc("the rest: starting, nothing left to do", "s"))
    locking_s: float = field(
        default=0.0, metadata=doc("cost of the protocol: enlist, probe, recruit, meet and lock together", "s")
    )
    row_groups: int = field(default=0, metadata=doc("row groups that this worker finished, alone or as leader"))
    multiply_adds: int = field(default=0, metadata=doc("multiply-adds that this worker did"))

    def close(self, elapsed_s: float) -> None:
        """Work out what follows from the rest, at the end of a run of `elapsed_s`."""
        self.locking_s = self.enlist_s + self.probe_s + self.recruit_s + self.meet_s + self.lock_s
        self.idle_s = max(elapsed_s - self.busy_s - self.locking_s - self.wait_s - self.fetch_s, 0.0)


@json_part
class WorkerTimes(WorkerFigures):
    """The figures of one worker of a process, by its number."""

    worker: int = field(metadata=doc("number of the worker in its process, from 0"))


@json_part
class WorkerRecord(WorkerFigures):
    """The figures of one worker, as a record has them."""

    process: int = field(metadata=doc("rank of the worker's process"))
    thread: int = field(metadata=doc("number of the worker in its process, from 0"))
