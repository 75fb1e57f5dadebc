"""Schedulers, by name."""

from __future__ import annotations

from sparsednn.schedulers.base import Action, Event, Finished, Job, Run, Scheduler, Started, Stop
from sparsednn.schedulers.data import DataScheduler

__all__ = ["SCHEDULERS", "Action", "Event", "Finished", "Job", "Run", "Scheduler", "Started", "Stop"]

SCHEDULERS: dict[str, type[Scheduler]] = {"data": DataScheduler}
