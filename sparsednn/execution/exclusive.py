"""Reserves a scheduler for one call at a time, since it holds the state of one run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from sparsednn.errors import SchedulerInUseError
from sparsednn.schedulers import Scheduler

_AT_WORK: set[int] = set()
_AT_WORK_LOCK = threading.Lock()


@contextlib.contextmanager
def alone_with(scheduler: Scheduler) -> Iterator[None]:
    """Keep a scheduler for one call.

    Raises
    ------
    SchedulerInUseError
        If it is at work in another call, of another thread.
    """
    with _AT_WORK_LOCK:
        if id(scheduler) in _AT_WORK:
            raise SchedulerInUseError(
                f"scheduler={scheduler.name}: this object is at work in another call; give each one of its own"
            )
        _AT_WORK.add(id(scheduler))
    try:
        yield
    finally:
        with _AT_WORK_LOCK:
            _AT_WORK.remove(id(scheduler))
