"""Executors carry out what schedulers decide."""

from __future__ import annotations

from sparsednn.executors.base import Tasks, WorkerTimes
from sparsednn.executors.threads import ThreadExecutor

__all__ = ["Tasks", "ThreadExecutor", "WorkerTimes"]
