"""Converts events to plain data for JSON, and replays the events of a run to a scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sparsednn.schedulers.base import Action, Boundary, Event, Finished, Job, Scheduler, Started, Taken

EVENTS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in (Started, Finished, Boundary, Taken)}


def to_dict(event: Event) -> dict[str, Any]:
    """Return the kind of an event, as ``"event"``, and its fields; ready for JSON."""
    return {"event": type(event).__name__} | asdict(event)


def from_dict(values: Mapping[str, Any]) -> Event:
    """Return the event of `to_dict`, also if it has been through JSON.

    Raises
    ------
    KeyError, TypeError
        If the kind is none of `EVENTS`, or its fields are others.
    """
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name != "event"}
    event: Event = EVENTS[values["event"]](**fields)
    return event


def replay(scheduler: Scheduler, job: Job, events: Iterable[Event]) -> list[list[Action]]:
    """Start a scheduler and give it one event after another; return its actions after each. Its state is checked every time.

    Raises
    ------
    AssertionError
        Naming the invariant of its state that does not hold.
    """
    scheduler.start(job)
    scheduler.validate()
    decisions = []
    for event in events:
        decisions.append(scheduler.on_event(event))
        scheduler.validate()
    return decisions
