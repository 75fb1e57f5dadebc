"""Owns linear operators as sparse matrices (rows: outputs, columns: inputs) whose entries are counted before they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.importers.lowering.windows import WindowAxis, window_index

Float64 = NDArray[np.float64]


class LinearMap(Protocol):
    """A linear operator."""

    @property
    def n_rows(self) -> int:
        """Number of outputs."""

    @property
    def entries(self) -> int:
        """How many entries the matrix has, which it need not have been made for."""

    @property
    def widest(self) -> int:
        """How many entries a row has at most."""

    @property
    def nonnegative(self) -> bool:
        """Whether no entry is negative."""

    def matrix(self) -> sp.csr_array:
        """Return the matrix: float64, shape (n_rows, n_columns)."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixMap:
    """A dense matrix that is applied to several vectors side by side: ``kron(I(before), kron(weights, I(after)))``.

    weights : float64, shape (outputs, inputs)
    """

    weights: Float64
    before: int = 1
    after: int = 1

    @property
    def n_rows(self) -> int:
        """Number of outputs."""
        return len(self.weights) * self.before * self.after

    @property
    def entries(self) -> int:
        """Weights that are not zero, for each vector."""
        return int(np.count_nonzero(self.weights)) * self.before * self.after

    @property
    def widest(self) -> int:
        """Most of a row."""
        return int(np.count_nonzero(self.weights, axis=1).max(initial=0))

    @property
    def nonnegative(self) -> bool:
        """Whether no weight is negative."""
        return bool((self.weights >= 0).all())

    def matrix(self) -> sp.csr_array:
        """Return the matrix."""
        matrix: Any = sp.csr_array(self.weights)
        if self.after > 1:
            matrix = sp.kron(matrix, sp.eye_array(self.after), format="csr")
        if self.before > 1:
            matrix = sp.kron(sp.eye_array(self.before), matrix, format="csr")
        return sp.csr_array(matrix)


@dataclass(frozen=True, slots=True, eq=False)
class ConvolutionMap:
    """A convolution, unrolled: an entry for each weight that is not zero and each window in which it lies on an input.

    weights : float64, shape (output channels, input channels of a group, *kernel); groups divide the output channels
    """

    weights: Float64
    groups: int
    axes: Sequence[WindowAxis]

    @property
    def n_rows(self) -> int:
        """Number of outputs."""
        return len(self.weights) * math.prod(axis.out for axis in self.axes)

    @property
    def entries(self) -> int:
        """Entries, by counting for each place in the kernel its weights and its windows."""
        windows: Any = np.ones((), np.int64)
        for axis in self.axes:
            windows = np.multiply.outer(windows, axis.inside.sum(axis=0, dtype=np.int64))
        return int((np.count_nonzero(self.weights, axis=(0, 1)) * windows).sum())

    @property
    def widest(self) -> int:
        """Most weights of an output channel."""
        return int(np.count_nonzero(self.weights.reshape(len(self.weights), -1), axis=1).max(initial=0))

    @property
    def nonnegative(self) -> bool:
        """Whether no weight is negative."""
        return bool((self.weights >= 0).all())

    def matrix(self) -> sp.csr_array:
        """Return the matrix."""
        n_channels, in_group, *_ = self.weights.shape
        channel, source, *place = np.nonzero(self.weights)
        values = self.weights[(channel, source, *place)]
        source = source + channel // (n_channels // self.groups) * in_group
        rows, columns = channel[:, np.newaxis].astype(np.int64), source[:, np.newaxis].astype(np.int64)
        inside = np.ones_like(rows, np.bool_)
        for axis, at in zip(self.axes, place, strict=True):
            n = len(values)
            position, valid = axis.positions.T[at], axis.inside.T[at]  # (weights, out)
            rows = (rows[:, :, np.newaxis] * axis.out + np.arange(axis.out)).reshape(n, rows.shape[1] * axis.out)
            columns = (columns[:, :, np.newaxis] * axis.size + position[:, np.newaxis]).reshape(rows.shape)
            inside = (inside[:, :, np.newaxis] & valid[:, np.newaxis]).reshape(rows.shape)
        data = np.broadcast_to(values[:, np.newaxis], rows.shape)[inside]
        n_inputs = in_group * self.groups * math.prod(axis.size for axis in self.axes)
        return sp.csr_array((data, (rows[inside], columns[inside])), shape=(self.n_rows, n_inputs))


@dataclass(frozen=True, slots=True, eq=False)
class PoolMap:
    """The mean of each window; `count_padding`: padding counts as zeros, else it is left out."""

    channels: int
    axes: Sequence[WindowAxis]
    count_padding: bool

    @property
    def n_rows(self) -> int:
        """Number of outputs."""
        return self.channels * math.prod(axis.out for axis in self.axes)

    @property
    def entries(self) -> int:
        """Inputs of all windows."""
        return self.channels * math.prod(int(axis.inside.sum()) for axis in self.axes)

    @property
    def widest(self) -> int:
        """Most inputs of a window."""
        return math.prod(int(axis.inside.sum(axis=1).max(initial=0)) for axis in self.axes)

    @property
    def nonnegative(self) -> bool:
        """Means have no negative weights."""
        return True

    def matrix(self) -> sp.csr_array:
        """Return the matrix."""
        index = window_index(self.channels, self.axes)
        divisors: Any = np.ones(1)
        for axis in self.axes:
            counted = axis.padded if self.count_padding else axis.inside
            divisors = np.multiply.outer(divisors, counted.sum(axis=1)).reshape(-1)
        rows, element = np.nonzero(index >= 0)
        data = 1 / np.tile(divisors, self.channels)[rows]
        n_inputs = self.channels * math.prod(axis.size for axis in self.axes)
        return sp.csr_array((data, (rows, index[rows, element])), shape=(self.n_rows, n_inputs))


@dataclass(frozen=True, slots=True, eq=False)
class MeanMap:
    """The mean over whole axes of a tensor of a shape."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        """Number of outputs."""
        return math.prod(self.shape) // self.widest

    @property
    def entries(self) -> int:
        """One for each input."""
        return math.prod(self.shape)

    @property
    def widest(self) -> int:
        """Inputs of each mean."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def nonnegative(self) -> bool:
        """Means have no negative weights."""
        return True

    def matrix(self) -> sp.csr_array:
        """Return the matrix."""
        kept = [1 if axis in self.axes else size for axis, size in enumerate(self.shape)]
        rows = np.broadcast_to(np.arange(self.n_rows).reshape(kept), self.shape).reshape(-1)
        data = np.full(self.entries, 1 / self.widest)
        return sp.csr_array((data, (rows, np.arange(self.entries))), shape=(self.n_rows, self.entries))
