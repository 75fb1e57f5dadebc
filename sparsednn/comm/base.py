"""What the processes of a run say to each other. Inference itself exchanges nothing; results are gathered at the end."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Communicator(Protocol):
    """A group of processes, each with a rank from 0 to ``size - 1``."""

    @property
    def rank(self) -> int:
        """This process."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def barrier(self) -> None:
        """Wait until every process is here."""

    def gather(self, value: T) -> list[T] | None:
        """Return the values of all processes, by rank, on rank 0; None elsewhere."""
