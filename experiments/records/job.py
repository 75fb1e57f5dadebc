"""Defines the job of a record: only times of the same job are compared with each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sparsednn.results.record import RunRecord
from sparsednn.system.json_fields import named

JOB = named(RunRecord, "neurons", "layers", "instances", "network_nnz", "input_nnz")
"""Fields of a record that are the same for records of the same job."""

Job = tuple[Any, ...]
"""The values of these fields."""

Item = TypeVar("Item")


def job_of(run: RunRecord) -> Job:
    """Return the job of a record."""
    return tuple(getattr(run, name) for name in JOB)


def fastest(runs: Iterable[tuple[Job, float, Item]]) -> dict[Job, Item]:
    """Return for each job the item with the fewest seconds, of the first ones among equals."""
    best: dict[Job, tuple[float, Item]] = {}
    for job, seconds, item in runs:
        if job not in best or seconds < best[job][0]:
            best[job] = seconds, item
    return {job: item for job, (_, item) in best.items()}
