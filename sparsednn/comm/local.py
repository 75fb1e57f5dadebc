"""Implements the communicator of a run in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import scipy.sparse as sp

from sparsednn.comm.base import rows_between

T = TypeVar("T")


class LocalCounters:
    """The counter of one process."""

    def __init__(self) -> None:
        self._value, self._lock = 0, threading.Lock()

    def add(self, rank: int, value: int) -> int:
        """Add; return what it was before."""
        with self._lock:
            before = self._value
            self._value += value
        return before

    def close(self) -> None:
        """Do nothing: there is no shared memory to give back."""


class LocalRows:
    """The rows of one process."""

    def __init__(self, rows: sp.csr_array) -> None:
        self._rows = rows

    def fetch(self, rank: int, first: int, last: int) -> sp.csr_array:
        """Return rows ``first .. last``."""
        return rows_between(self._rows, first, last)

    def close(self) -> None:
        """Do nothing: there is no shared memory to give back."""


class LocalCommunicator:
    """One process, alone."""

    rank = node_rank = 0
    size = node_size = 1
    unshared_bytes = 0

    def barrier(self) -> None:
        """Return at once: there is no other process to wait for."""

    def gather(self, value: T) -> list[T] | None:
        """Return the value of this process in a list."""
        return [value]

    def all_gather(self, value: T) -> list[T]:
        """Return the value of this process in a list."""
        return [value]

    def broadcast(self, value: T | None) -> T:
        """Return the value of this process."""
        return value  # type: ignore[return-value]

    def exchange(self, values: Sequence[T]) -> list[T]:
        """Return the value of this process in a list."""
        return list(values)

    def share(self, make: Callable[[], T]) -> T:
        """Return what `make` returns."""
        return make()

    def counters(self) -> LocalCounters:
        """Return a new counter."""
        return LocalCounters()

    def expose(self, rows: sp.csr_array) -> LocalRows:
        """Return the rows for this process itself."""
        return LocalRows(rows)

    def abort(self, message: str, status: int = 1) -> None:
        """Do nothing: there are no other processes to end, and the caller reports the failure."""
