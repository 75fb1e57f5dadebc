"""Declares the operations by which the processes of a run communicate.

Inference itself exchanges nothing, unless processes take from each other (`Counters`, `Exposed`) or are balanced anew; results
are gathered at the end. All methods are collective, which means that every process calls them, in the same order, unless they
say that they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import scipy.sparse as sp

from sparsednn.arguments.arrays import csr_of
from sparsednn.errors import MemoryShortageError

T = TypeVar("T")


class NodeError(MemoryShortageError):
    """An error that all processes of a node raise alike; the first of them reports it."""


class Counters(Protocol):
    """One int64 for each process, which any process, and any thread of it, may read and add to at any time."""

    def add(self, rank: int, value: int) -> int:
        """Add to the counter of a process, at once; return what it was before. Not collective."""

    def close(self) -> None:
        """Give the memory back."""


class Exposed(Protocol):
    """The rows that each process has, for the others to fetch."""

    def fetch(self, rank: int, first: int, last: int) -> sp.csr_array:
        """Return a copy of rows ``first .. last`` of a process; safe in any thread. Not collective."""

    def close(self) -> None:
        """Give the memory back."""


@runtime_checkable
class Communicator(Protocol):
    """A group of processes, each with a rank from 0 to ``size - 1``."""

    @property
    def rank(self) -> int:
        """The rank of this process."""

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def node_rank(self) -> int:
        """The number of this process among those of its node."""

    @property
    def node_size(self) -> int:
        """Number of processes on this process's node."""

    @property
    def unshared_bytes(self) -> int:
        """Bytes of which `share` has given this process a copy, since shared memory had no room; of all calls so far."""

    def barrier(self) -> None:
        """Wait until every process is here."""

    def gather(self, value: T) -> list[T] | None:
        """Return the values of all processes, by rank, on rank 0; None elsewhere."""

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank."""

    def broadcast(self, value: T | None) -> T:
        """Return what rank 0 has; the others' values do not matter."""

    def exchange(self, values: Sequence[T]) -> list[T]:
        """Send ``values[r]`` to rank r; return what each rank sent here, by rank."""

    def share(self, make: Callable[[], T]) -> T:
        """Return what the first process of each node makes; its arrays are there once on each node, in shared memory.

        Everybody may read and nobody may write to them. They live as long as the process. Where shared memory has no room for
        them (in a container it may have 64 MB), each process has a copy instead, which `unshared_bytes` counts.

        Raises
        ------
        NodeError
            On all processes of the node, if there is no room for copies either; the message has the ways out.
        """

    def counters(self) -> Counters:
        """Return new counters, all of them 0."""

    def expose(self, rows: sp.csr_array) -> Exposed:
        """Let the other processes fetch rows of this one's matrix (float32, int32 or int64 indices)."""

    def abort(self, message: str, status: int = 1) -> None:
        """Say which process fails and why, and end all of them with an exit status; does not return then. Not collective."""


def rows_between(csr: sp.csr_array, first: int, last: int) -> sp.csr_array:
    """Return rows ``first .. last`` of a matrix as views of its arrays, but for the row pointers."""
    begin, end = int(csr.indptr[first]), int(csr.indptr[last])
    return csr_of(csr.indptr[first : last + 1] - begin, csr.indices[begin:end], csr.data[begin:end], csr.shape[1])
