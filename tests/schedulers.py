"""Schedulers that check their state at every step."""

from __future__ import annotations

from dataclasses import dataclass

from sparsednn.schedulers import Action, Event, Job, Scheduler


@dataclass(frozen=True)
class PlainOutlook:
    """A row group is opened by its leader, and takes a walk and a second a row, of which a team splits a share; there are two
    layers, half of it each."""

    n_rows: int
    walk_s: float = 1.0
    shared: float = 1.0
    deviation: float = 0.0
    block_rows: int = 1
    start_s: float = 0.0
    decision_s: float = 0.0
    wake_s: float = 0.0
    bus: float = 0.0
    open_s: float = 0.0

    def team_s(self, n_rows: int, n_members: int) -> float:
        return self.open_s + self._layers_s(n_rows, n_members)

    def first_layer_s(self, n_rows: int, n_members: int) -> float:
        return self.open_s + self._layers_s(n_rows, n_members) / 2

    def row_s(self) -> float:
        return 1.0

    def deviation_s(self, n_rows: int) -> float:
        return float(self.deviation * n_rows**0.5)

    def slowdown(self, n_active: int) -> float:
        return 1 + self.bus * (n_active - 1)

    def _layers_s(self, n_rows: int, n_members: int) -> float:
        return (self.walk_s + n_rows) * (1 - self.shared + self.shared / n_members)


def job_of(scheduler: Scheduler, n_workers: int, n_layers: int, outlook: PlainOutlook, domains: tuple[int, ...] = ()) -> Job:
    """Return a job for a scheduler, with an outlook if it cuts row groups."""
    return Job(n_workers, scheduler.n_row_groups(n_workers), n_layers, domains, outlook=outlook if scheduler.cuts else None)


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
        self.cuts = inner.cuts
        self.events: list[Event] = []
        self.decisions: list[list[Action]] = []

    def n_row_groups(self, n_workers: int) -> int:
        return self.inner.n_row_groups(n_workers)

    def n_wanted(self, job: Job) -> int:
        return self.inner.n_wanted(job)

    def start(self, job: Job) -> None:
        self.events, self.decisions = [], []
        started(self.inner, job)

    def on_event(self, event: Event) -> list[Action]:
        self.events.append(event)
        self.decisions.append(decide(self.inner, event))
        return self.decisions[-1]
