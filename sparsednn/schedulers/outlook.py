"""Declares what a scheduler may be told of the costs of a process's rows before they run."""

from __future__ import annotations

from typing import Protocol


class Outlook(Protocol):
    """The seconds that are expected of row groups, by a cost model and a sample of the rows.

    Rows are taken to be spread, so that any so many of them are like any others. The same question has the same answer during a
    run. Seconds are those of a worker that has the memory bus to itself: see `slowdown`.
    """

    @property
    def n_rows(self) -> int:
        """Rows of the process."""

    @property
    def block_rows(self) -> int:
        """Rows that a kernel takes at a time, of which a part costs as much as all; 1 for kernels without blocks."""

    @property
    def start_s(self) -> float:
        """Starting one worker after another."""

    @property
    def decision_s(self) -> float:
        """One decision of the scheduler."""

    @property
    def wake_s(self) -> float:
        """Until a worker that sleeps has its order."""

    def team_s(self, n_rows: int, n_members: int) -> float:
        """Return what a row group of `n_rows` rows takes a team of `n_members`."""

    def first_layer_s(self, n_rows: int, n_members: int) -> float:
        """Return what its first layer takes them."""

    def row_s(self) -> float:
        """Return what one more row of a large row group takes one worker."""

    def deviation_s(self, n_rows: int) -> float:
        """Return the standard deviation of what a row group of `n_rows` rows takes one worker."""

    def slowdown(self, n_active: int) -> float:
        """Return how much longer everything takes while `n_active` workers of the process are at work."""
