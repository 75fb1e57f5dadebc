"""Schedulers that check their state at every step."""

from __future__ import annotations

from sparsednn.schedulers import Action, Event, Job, Scheduler


def started(scheduler: Scheduler, job: Job) -> Scheduler:
    """Start a run, and check the state."""
    scheduler.start(job)
    scheduler.validate()
    return scheduler


def decide(scheduler: Scheduler, event: Event) -> list[Action]:
    """Give it an event, and check the state."""
    actions = scheduler.on_event(event)
    scheduler.validate()
    return actions


class Validated(Scheduler):
    """Does as another scheduler does, and checks its state at every step; `events` has all that it was told."""

    def __init__(self, inner: Scheduler) -> None:
        super().__init__(inner.options)
        self.inner, self.name, self.takes_from_processes = inner, inner.name, inner.takes_from_processes
        self.events: list[Event] = []
        self.decisions: list[list[Action]] = []

    def n_row_groups(self, n_workers: int) -> int:
        return self.inner.n_row_groups(n_workers)

    def start(self, job: Job) -> None:
        self.events, self.decisions = [], []
        started(self.inner, job)

    def on_event(self, event: Event) -> list[Action]:
        self.events.append(event)
        self.decisions.append(decide(self.inner, event))
        return self.decisions[-1]
