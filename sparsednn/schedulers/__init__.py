"""Owns the schedulers, by name; the class of one is loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module

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

_PLACES = {
    "data": "data.DataScheduler",
    "model": "model.ModelScheduler",
    "data_then_model": "data_then_model.DataThenModelScheduler",
    "manager_worker": "queues.ManagerWorkerScheduler",
    "work_stealing": "queues.WorkStealingScheduler",
    "global_work_stealing": "global_work_stealing.GlobalWorkStealingScheduler",
    "adaptive": "adaptive.AdaptiveScheduler",
}
"""Module and class of each scheduler."""

ONE_PROCESS_SCHEDULERS = tuple(name for name in _PLACES if name != "global_work_stealing")
"""Schedulers that decide for one process by itself, which is what the simulator runs."""


class _Schedulers(MutableMapping[str, type[Scheduler]]):
    """The schedulers by name. An inference has one of them, and need not wait for the others to be imported."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Scheduler] | None] = dict.fromkeys(_PLACES)

    def __getitem__(self, name: str) -> type[Scheduler]:
        found = self._classes[name]
        if found is None:
            module, class_name = _PLACES[name].split(".")
            found = getattr(import_module(f"{__name__}.{module}"), class_name)
            self._classes[name] = found
        return found

    def __setitem__(self, name: str, scheduler: type[Scheduler]) -> None:
        self._classes[name] = scheduler

    def __delitem__(self, name: str) -> None:
        del self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


SCHEDULERS: MutableMapping[str, type[Scheduler]] = _Schedulers()


def counts_work(name: str) -> bool:
    """Return whether the work of some rows is counted before a scheduler of that name, or ``auto``, runs them."""
    return name == AUTO or (name in SCHEDULERS and SCHEDULERS[name].cuts)
