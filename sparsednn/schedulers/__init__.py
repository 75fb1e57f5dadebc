"""Schedulers, by name."""

from __future__ import annotations

from sparsednn.schedulers.base import (
    STRATEGIES,
    Action,
    Boundary,
    Call,
    Dismiss,
    Event,
    Finished,
    Job,
    Run,
    Scheduler,
    SchedulerOptions,
    Sleep,
    Started,
    Stop,
    Team,
)
from sparsednn.schedulers.data import DataScheduler
from sparsednn.schedulers.data_then_model import DataThenModelScheduler
from sparsednn.schedulers.model import ModelScheduler
from sparsednn.schedulers.queues import ManagerWorkerScheduler, WorkStealingScheduler

__all__ = [
    "SCHEDULERS",
    "STRATEGIES",
    "Action",
    "Boundary",
    "Call",
    "Dismiss",
    "Event",
    "Finished",
    "Job",
    "Run",
    "Scheduler",
    "SchedulerOptions",
    "Sleep",
    "Started",
    "Stop",
    "Team",
]

SCHEDULERS: dict[str, type[Scheduler]] = {
    scheduler.name: scheduler
    for scheduler in (DataScheduler, ModelScheduler, DataThenModelScheduler, ManagerWorkerScheduler, WorkStealingScheduler)
}
