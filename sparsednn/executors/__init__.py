"""Executors carry out what schedulers decide."""

from __future__ import annotations

from sparsednn.executors.base import Report, Tasks, Timeline, WorkerTimes
from sparsednn.executors.simulated import SimulatedExecutor
from sparsednn.executors.threads import ThreadExecutor

__all__ = ["Report", "SimulatedExecutor", "Tasks", "ThreadExecutor", "Timeline", "WorkerTimes"]
