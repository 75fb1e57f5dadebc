"""Collects the outcomes of a sweep's points, also from processes that Hydra's launchers (joblib, submitit) start.

Hydra shows nobody what a job returns; but a launcher with other processes sends it back to the sweep's, pickled. So an outcome
that arrives there tells the listener of that process by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.records.point import PointRecord


@dataclass(frozen=True, slots=True)
class PointOutcome:
    """The outcome of a point, or of an experiment.

    Attributes
    ----------
    number : int
        Of the job in its sweep, from 0.
    folder : Path
    status : int
        The exit status that it stands for; see `experiments.run.measure.exit_status`.
    record : PointRecord or None
        The point's; None for an experiment, and for what could not be composed.
    errors : tuple of str
        Messages about an experiment, in one line each.
    """

    number: int
    folder: Path
    status: int
    record: PointRecord | None = None
    errors: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.number, self.folder, self.status, self.record, self.errors)


_listeners: list[Callable[[PointOutcome], None]] = []


def listen(listener: Callable[[PointOutcome], None]) -> None:
    """Call `listener` with each outcome that comes from another process, once or more often."""
    _listeners[:] = [listener]


def _arrived(*values: Any) -> PointOutcome:
    outcome = PointOutcome(*values)
    for listener in _listeners:
        listener(outcome)
    return outcome
