"""Owns linear operators as matrices (rows: outputs, columns: inputs) of few templates, whose entries are counted first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.importers.lowering.shifted_rows import ShiftedRows
from sparsednn.importers.lowering.windows import WindowAxis, WindowClasses, window_classes

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

    @property
    def n_templates(self) -> int:
        """How many templates its rows have, about."""

    @property
    def n_stored(self) -> int:
        """How many entries these have."""

    def rows(self) -> ShiftedRows:
        """Return the matrix, of shape (n_rows, n_columns)."""


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

    @property
    def n_templates(self) -> int:
        """One for each output."""
        return len(self.weights)

    @property
    def n_stored(self) -> int:
        """Weights that are not zero."""
        return int(np.count_nonzero(self.weights))

    def rows(self) -> ShiftedRows:
        """Return the matrix: a template for each output."""
        n_outputs, n_inputs = self.weights.shape
        one: Any = sp.csr_array(self.weights)
        shape = (n_outputs, max((n_inputs - 1) * self.after + 1, 0))
        templates = sp.csr_array((one.data, one.indices * self.after, one.indptr), shape=shape)
        each = np.zeros((self.before, n_outputs, self.after), np.int64)
        template = each + np.arange(n_outputs)[:, np.newaxis]
        offset = each + np.arange(self.before)[:, np.newaxis, np.newaxis] * n_inputs * self.after + np.arange(self.after)
        return ShiftedRows(n_inputs * self.before * self.after, templates, template.reshape(-1), offset.reshape(-1))


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

    @property
    def n_templates(self) -> int:
        """One for each channel and each way in which windows lie on padding."""
        return len(self.weights) * math.prod(len(window_classes(axis).elements) for axis in self.axes)

    @property
    def n_stored(self) -> int:
        """Entries of a template for each channel and each way in which windows lie on padding."""
        kept: Any = np.ones((), np.int64)
        for axis in self.axes:
            kept = np.multiply.outer(kept, window_classes(axis).elements.sum(axis=0, dtype=np.int64))
        return int((np.count_nonzero(self.weights, axis=(0, 1)) * kept).sum())

    def rows(self) -> ShiftedRows:
        """Return the matrix: a template for each class of windows and each output channel."""
        n_channels, in_group, *kernel = self.weights.shape
        area = math.prod(axis.size for axis in self.axes)
        channel, source, *place = np.nonzero(self.weights)
        windows = WindowClasses.of(self.axes)
        at = np.ravel_multi_index(tuple(place), kernel) if place else np.zeros_like(channel)
        columns = source * area + windows.reach[at]
        window, entry = np.nonzero(windows.elements[:, at])  # row by row: classes, then weights in order
        owner = window * n_channels + channel[entry]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(windows.elements) * n_channels))])
        values = self.weights[(channel, source, *place)]
        shape = (len(indptr) - 1, int(columns.max(initial=0)) + 1)
        templates = sp.csr_array((values[entry], columns[entry], indptr), shape=shape)
        number = np.arange(n_channels)[:, np.newaxis]
        template = windows.number * n_channels + number
        offset = windows.start + number // (n_channels // self.groups) * in_group * area
        return ShiftedRows(in_group * self.groups * area, templates, template.reshape(-1), offset.reshape(-1))


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

    @property
    def n_templates(self) -> int:
        """One for each way in which windows lie on padding."""
        return math.prod(len(window_classes(axis).elements) for axis in self.axes)

    @property
    def n_stored(self) -> int:
        """Inputs of a window of each class."""
        return int(WindowClasses.of(self.axes).elements.sum())

    def rows(self) -> ShiftedRows:
        """Return the matrix: a template for each class of windows."""
        windows = WindowClasses.of(self.axes)
        window, element = np.nonzero(windows.elements)
        indptr = np.concatenate([[0], np.cumsum(windows.elements.sum(axis=1))])
        counted = windows.padded if self.count_padding else windows.elements
        data = 1 / counted.sum(axis=1)[window]
        area = math.prod(axis.size for axis in self.axes)
        templates = sp.csr_array((data, windows.reach[element], indptr), shape=(len(indptr) - 1, int(windows.reach.max()) + 1))
        number = np.arange(self.channels)[:, np.newaxis]
        template, offset = windows.number + 0 * number, windows.start + number * area
        return ShiftedRows(self.channels * area, templates, template.reshape(-1), offset.reshape(-1))


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

    @property
    def n_templates(self) -> int:
        """One."""
        return 1

    @property
    def n_stored(self) -> int:
        """Inputs of one mean."""
        return self.widest

    def rows(self) -> ShiftedRows:
        """Return the matrix: one template."""
        number = np.arange(self.entries).reshape(self.shape)
        first = tuple(slice(0, 1) if axis in self.axes else slice(None) for axis in range(len(self.shape)))
        one = tuple(slice(None) if axis in self.axes else slice(0, 1) for axis in range(len(self.shape)))
        columns, offset = number[one].reshape(-1), number[first].reshape(-1)
        data = np.full(self.widest, 1 / self.widest)
        templates = sp.csr_array((data, columns, [0, self.widest]), shape=(1, int(columns[-1]) + 1))
        return ShiftedRows(self.entries, templates, np.zeros(self.n_rows, np.int64), offset)
