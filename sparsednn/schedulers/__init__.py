"""Owns the schedulers, by name; the class of one is loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from sparsednn.options.groups import STRATEGIES, SchedulerOptions
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
from sparsednn.schedulers.outlook import Outlook

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

ONE_PROCESS_SCHEDULERS = ("data", "model", "data_then_model", "manager_worker", "work_stealing", "adaptive")
"""Schedulers that decide for one process by itself, which is what the simulator runs."""


class _Schedulers(MutableMapping[str, type[Scheduler]]):
    """The schedulers by name. An inference has one of them, and need not wait for the others to be imported."""

    def __init__(self) -> None:
        names = (*ONE_PROCESS_SCHEDULERS[:-1], "global_work_stealing", ONE_PROCESS_SCHEDULERS[-1])
        self._classes: dict[str, type[Scheduler] | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> type[Scheduler]:
        return self._classes[name] or _imported(name)

    def __setitem__(self, name: str, scheduler: type[Scheduler]) -> None:
        self._classes[name] = scheduler

    def __delitem__(self, name: str) -> None:
        del self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


def _imported(name: str) -> type[Scheduler]:
    """Return the class of a scheduler of this package."""
    match name:
        case "model":
            from sparsednn.schedulers.model import ModelScheduler

            return ModelScheduler
        case "data_then_model":
            from sparsednn.schedulers.data_then_model import DataThenModelScheduler

            return DataThenModelScheduler
        case "manager_worker":
            from sparsednn.schedulers.queues import ManagerWorkerScheduler

            return ManagerWorkerScheduler
        case "work_stealing":
            from sparsednn.schedulers.queues import WorkStealingScheduler

            return WorkStealingScheduler
        case "global_work_stealing":
            from sparsednn.schedulers.global_work_stealing import GlobalWorkStealingScheduler

            return GlobalWorkStealingScheduler
        case "adaptive":
            from sparsednn.schedulers.adaptive import AdaptiveScheduler

            return AdaptiveScheduler
    return DataScheduler


SCHEDULERS: MutableMapping[str, type[Scheduler]] = _Schedulers()


def counts_work(name: str) -> bool:
    """Return whether the work of some rows is counted before a scheduler of that name, or ``auto``, runs them."""
    return name == AUTO or (name in SCHEDULERS and SCHEDULERS[name].cuts)
