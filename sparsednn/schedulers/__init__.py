"""Owns the schedulers, by name."""

from __future__ import annotations

from sparsednn.options.groups import STRATEGIES, SchedulerOptions
from sparsednn.schedulers.adaptive import AdaptiveScheduler
from sparsednn.schedulers.base import (
    Action,
    Boundary,
    Call,
    Cut,
    Dismiss,
    Event,
    Finished,
    FormTeam,
    Job,
    Run,
    Scheduler,
    Sleep,
    Started,
    Stop,
    Take,
    Taken,
)
from sparsednn.schedulers.data import DataScheduler
from sparsednn.schedulers.data_then_model import DataThenModelScheduler
from sparsednn.schedulers.global_work_stealing import GlobalWorkStealingScheduler
from sparsednn.schedulers.model import ModelScheduler
from sparsednn.schedulers.outlook import Outlook
from sparsednn.schedulers.queues import ManagerWorkerScheduler, WorkStealingScheduler

__all__ = [
    "AUTO",
    "ONE_PROCESS_SCHEDULERS",
    "SCHEDULERS",
    "STRATEGIES",
    "Action",
    "Boundary",
    "Call",
    "Cut",
    "Dismiss",
    "Event",
    "Finished",
    "FormTeam",
    "Job",
    "Outlook",
    "Run",
    "Scheduler",
    "SchedulerOptions",
    "Sleep",
    "Started",
    "Stop",
    "Take",
    "Taken",
    "counts_work",
]

AUTO = "auto"
"""In place of a scheduler's name: the simulator is to choose one (see `sparsednn.simulator.tuning`)."""

SCHEDULERS: dict[str, type[Scheduler]] = {
    scheduler.name: scheduler
    for scheduler in (
        DataScheduler,
        ModelScheduler,
        DataThenModelScheduler,
        ManagerWorkerScheduler,
        WorkStealingScheduler,
        GlobalWorkStealingScheduler,
        AdaptiveScheduler,
    )
}

ONE_PROCESS_SCHEDULERS = tuple(name for name, scheduler in SCHEDULERS.items() if not scheduler.takes_from_processes)
"""Schedulers that decide for one process by itself, which is what the simulator runs."""


def counts_work(name: str) -> bool:
    """Return whether the work of some rows is counted before a scheduler of that name, or ``auto``, runs them."""
    return name == AUTO or (name in SCHEDULERS and SCHEDULERS[name].cuts)
