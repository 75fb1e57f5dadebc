"""Schedulers, by name."""

from __future__ import annotations

from sparsednn.schedulers.base import Action, Event, Finished, Job, Run, Scheduler, SchedulerOptions, Started, Stop
from sparsednn.schedulers.data import DataScheduler
from sparsednn.schedulers.queues import ManagerWorkerScheduler, WorkStealingScheduler

__all__ = [
    "SCHEDULERS",
    "Action",
    "Event",
    "Finished",
    "Job",
    "Run",
    "Scheduler",
    "SchedulerOptions",
    "Started",
    "Stop",
]

SCHEDULERS: dict[str, type[Scheduler]] = {
    scheduler.name: scheduler for scheduler in (DataScheduler, ManagerWorkerScheduler, WorkStealingScheduler)
}
