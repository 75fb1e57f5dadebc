"""Holds the work counts of an inference and their costs in seconds, before any clock runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsednn.backend import LayerSizes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CHUNK_ENTRIES = 2**23
"""Counts that are summed up at a time: more would not stay in the cache."""


@dataclass(frozen=True, slots=True)
class GroupWork:
    """The work of one row group, layer by layer.

    Attributes
    ----------
    n_rows : int
    rows_alive : int64 array, shape (n_layers,)
        Rows with a nonzero activation before the layer.
    nnz_in, nnz_out : int64 arrays, shape (n_layers,)
        Nonzero activations before and after the layer.
    rows_full : int64 array, shape (n_layers,)
        Rows with every activation nonzero before the layer.
    least_nnz : int64 array, shape (n_layers,)
        Fewest nonzeros before the layer of a row that is alive: no more columns than that can be full. 0 if no row is alive.
    multiply_adds : float64 array, shape (n_layers,)
        ``nnz_in`` times the mean number of connections of an input neuron: exact where every neuron has equally many outgoing
        connections, as in the challenge's networks, and an estimate elsewhere.
    n_inputs, n_outputs, connections : int64 arrays, shape (n_layers,)
        Of the layer, whatever the rows.
    zeros_stay : bool array, shape (n_layers,)
        A row of zeros before the layer is one after the last layer, so that it may be dropped.
    full_stays : bool array, shape (n_layers,)
        A row that is saturated before the layer is so after the last layer, so that it may be retired.
    """

    n_rows: int
    rows_alive: Ints
    nnz_in: Ints
    nnz_out: Ints
    rows_full: Ints
    least_nnz: Ints
    multiply_adds: Floats
    n_inputs: Ints
    n_outputs: Ints
    connections: Ints
    zeros_stay: NDArray[np.bool_]
    full_stays: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class WorkProfile:
    """The nonzero activations of each instance before each layer and after the last, counted.

    Attributes
    ----------
    nonzeros : int32 array, shape (n_layers + 1, n_instances)
        Row l: before layer l (0-based).
    n_inputs, n_outputs, connections : int64 arrays, shape (n_layers,)
    zeros_stay, full_stays : bool arrays, shape (n_layers,)
        See `GroupWork`.
    positive : bool array, shape (n_instances,), optional
        Whether the last activations of each instance add up to more than zero. None where the counts tell that, since none of
        them is negative, or where nobody asked.
    """

    nonzeros: NDArray[np.int32]
    n_inputs: Ints
    n_outputs: Ints
    connections: Ints
    zeros_stay: NDArray[np.bool_]
    full_stays: NDArray[np.bool_]
    positive: NDArray[np.bool_] | None = None

    def as_run(self, sizes: LayerSizes) -> WorkProfile:
        """Return what this comes to where a backend runs layers of other sizes, because it merges columns that are the same.

        Of the neurons that are merged, equal shares are taken to be nonzero.
        """
        kept = np.append(sizes.n_inputs, sizes.n_outputs[-1]) / np.append(self.n_inputs, self.n_outputs[-1])
        nonzeros = np.ceil(self.nonzeros * kept[:, None]).astype(np.int32)
        return WorkProfile(
            nonzeros, sizes.n_inputs, sizes.n_outputs, sizes.connections, self.zeros_stay, sizes.full_stays, self.positive
        )  # fmt: skip

    @property
    def n_layers(self) -> int:
        """Layers of the network."""
        return len(self.n_inputs)

    @property
    def n_instances(self) -> int:
        """Instances of the input."""
        return int(self.nonzeros.shape[1])

    def categories(self) -> Ints:
        """Return the 1-based ids of the instances whose last activations add up to more than zero, ascending; int64."""
        above = self.nonzeros[-1] if self.positive is None else self.positive
        return np.flatnonzero(above).astype(np.int64) + 1

    def group_work(self, rows: Ints) -> GroupWork:
        """Return the work of the row group of the 0-based instances `rows`."""
        return self.partition_work([rows])[0]

    def partition_work(self, groups: Sequence[Ints]) -> list[GroupWork]:
        """Return the work of each of many row groups, given by their 0-based instances, in one pass over the counts."""
        sizes = np.array([len(rows) for rows in groups], np.int64)
        alive, nnz, full, least = self._sums(np.concatenate(groups) if groups else np.zeros(0, np.int64), sizes)
        fan_out = self.connections / np.maximum(self.n_inputs, 1)
        return [
            GroupWork(
                int(n_rows), alive[:-1, g], nnz[:-1, g], nnz[1:, g], full[:-1, g], least[:-1, g], nnz[:-1, g] * fan_out,
                self.n_inputs, self.n_outputs, self.connections, self.zeros_stay, self.full_stays,
            )
            for g, n_rows in enumerate(sizes)
        ]  # fmt: skip

    def _sums(self, order: Ints, sizes: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Rows alive, nonzeros, full rows, fewest nonzeros of a row alive; of groups of neighbours; (n_layers + 1, groups)."""
        shape = (self.n_layers + 1, len(sizes))
        alive, nnz, full, least = (np.zeros(shape, np.int64) for _ in range(4))
        filled = np.flatnonzero(sizes)  # reduceat cannot sum up nothing
        if not filled.size:
            return alive, nnz, full, least
        starts = (np.cumsum(sizes) - sizes)[filled]
        in_order = len(order) == self.n_instances and bool((np.diff(order) == 1).all())
        step = max(CHUNK_ENTRIES // len(order), 1)
        for layer in range(0, shape[0], step):
            part = slice(layer, layer + step)
            counts = self.nonzeros[part] if in_order else self.nonzeros[part][:, order]
            alive[part, filled] = np.add.reduceat(counts > 0, starts, axis=1, dtype=np.int64)
            widths = np.append(self.n_inputs, self.n_outputs[-1])[part, None]
            full[part, filled] = np.add.reduceat(counts == widths, starts, axis=1, dtype=np.int64)
            nnz[part, filled] = np.add.reduceat(counts, starts, axis=1, dtype=np.int64)
            lowest = np.minimum.reduceat(counts.view(np.uint32) - np.uint32(1), starts, axis=1)  # 0 becomes the largest
            least[part, filled] = (lowest + np.uint32(1)).astype(np.int64)
        return alive, nnz, full, least


@dataclass(frozen=True, slots=True)
class GroupCosts:
    """The costs of one row group, as an executor in virtual time needs them. Seconds are those of a core of speed 1.

    Attributes
    ----------
    open_s, close_s : float
        Before the first layer and after the last.
    alone_s : float64 array, shape (n_layers,)
        Each layer, for one worker.
    serial_share : float
        Part of it that a team leaves to its leader.
    columns : int64 array, shape (n_layers,)
        Into so many parts a team can cut the layer at the most.
    meetings : float64 array, shape (n_layers,)
        How often a team meets during the layer.
    multiply_adds : float64 array, shape (n_layers,)
        Really done.
    step_work : float64 array, shape (n_layers,)
        Multiply-adds between two layer boundaries. Kernels that take block after block through all layers are at one after each
        layer of each block.
    team_factor : float
        How much longer the work that is split takes in a team of two, since half of what a member reads was just written by
        another core.
    n_cores : int
        Cores of the process.
    """

    open_s: float
    close_s: float
    alone_s: Floats
    serial_share: float
    columns: Ints
    meetings: Floats
    multiply_adds: Floats
    step_work: Floats
    team_factor: float = 1.0
    n_cores: int = 2**31

    def factor_of(self, n_members: int) -> float:
        """Return how much longer split work takes in a team: members on n cores read (n - 1) / n of it from other cores."""
        n = min(n_members, self.n_cores)
        return 1 + (self.team_factor - 1) * 2 * (n - 1) / n

    def team_s(self, speeds: Sequence[float], barrier_s: float) -> Floats:
        """Return how long a team takes for each layer, its members' speeds given, the leader's first. Shape (n_layers,).

        A team is as slow as its slowest member, has to give each a whole number of columns, leaves some of the work to its
        leader, and meets.
        """
        if len(speeds) == 1:
            return self.alone_s / speeds[0]
        columns = np.maximum(self.columns, 1)
        largest_share = np.ceil(columns / len(speeds)) / columns
        split = self.alone_s * (1 - self.serial_share) * self.factor_of(len(speeds)) * largest_share / min(speeds)
        return split + self.alone_s * self.serial_share / speeds[0] + self.meetings * barrier_s

    def member_s(self, speeds: Sequence[float], member: int, layers: slice) -> float:
        """Return for how much of the time of `layers` a member works and does not wait for the others, on average."""
        alone_s = float(self.alone_s[layers].sum())
        if len(speeds) == 1:
            return alone_s / speeds[0]
        own_s = alone_s * (1 - self.serial_share) * self.factor_of(len(speeds)) / len(speeds) / speeds[member]
        return own_s + alone_s * self.serial_share / speeds[0] if member == 0 else own_s


@dataclass(frozen=True, slots=True)
class Overheads:
    """The costs of the protocol, in seconds.

    Attributes
    ----------
    decision_s : float
        One call of the scheduler, under the lock of the process.
    wake_s : float
        Until a worker that waits for an order has it.
    start_s : float
        Starting one worker after another.
    barrier_s : float64 array, shape (n_workers + 1,)
        One meeting of a team, by the number of its members.
    """

    decision_s: float
    wake_s: float
    start_s: float
    barrier_s: Floats

    @classmethod
    def none(cls, n_workers: int) -> Overheads:
        """A machine on which deciding and meeting take no time."""
        return cls(0.0, 0.0, 0.0, np.zeros(n_workers + 1))
