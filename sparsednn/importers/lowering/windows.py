"""Says which inputs the windows of convolutions and pools look at, axis by axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WindowAxis:
    """The windows along one axis.

    Attributes
    ----------
    size : int
        Inputs along the axis.
    kernel, stride, dilation : int
    before, after : int
        Padding.
    out : int
        Number of windows.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    @property
    def positions(self) -> NDArray[np.int64]:
        """Input that each element of each window lies on, which may be outside: int64, shape (out, kernel)."""
        starts = np.arange(self.out, dtype=np.int64)[:, np.newaxis] * self.stride - self.before
        return starts + np.arange(self.kernel, dtype=np.int64) * self.dilation

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether each element of each window lies on an input: bool, shape (out, kernel)."""
        return (self.positions >= 0) & (self.positions < self.size)

    @property
    def padded(self) -> NDArray[np.bool_]:
        """Whether each element of each window lies on an input or on padding: bool, shape (out, kernel)."""
        return self.positions < self.size + self.after


@dataclass(frozen=True, slots=True, eq=False)
class AxisClasses:
    """The windows along one axis, sorted by which of their elements lie on inputs, and which on padding.

    Attributes
    ----------
    elements, padded : bool arrays, shape (n_classes, kernel)
        Which elements of the windows of a class lie on an input; and on an input or on padding.
    number : int64 array, shape (out,)
        Class of each window.
    """

    elements: NDArray[np.bool_]
    padded: NDArray[np.bool_]
    number: NDArray[np.int64]


def window_classes(axis: WindowAxis) -> AxisClasses:
    """Sort the windows along an axis."""
    both = np.concatenate([axis.inside, axis.padded], axis=1)
    _, first, number = np.unique(both, axis=0, return_index=True, return_inverse=True)
    return AxisClasses(axis.inside[first], axis.padded[first], number.reshape(-1))


@dataclass(frozen=True, slots=True, eq=False)
class WindowClasses:
    """The windows along all axes together; windows, and elements of a window, are counted in C order.

    Attributes
    ----------
    elements, padded : bool arrays, shape (n_classes, elements of a window)
        As in `AxisClasses`.
    number, start : int64 arrays, shape (windows,)
        Class of each window; and the input that its first element lies on, or would lie on: it may be negative.
    reach : int64 array, shape (elements of a window,)
        How many inputs each element lies behind the first.
    """

    elements: NDArray[np.bool_]
    padded: NDArray[np.bool_]
    number: NDArray[np.int64]
    start: NDArray[np.int64]
    reach: NDArray[np.int64]

    @classmethod
    def of(cls, axes: Sequence[WindowAxis]) -> WindowClasses:
        """Sort the windows of a convolution or a pool."""
        elements, padded = np.ones((1, 1), np.bool_), np.ones((1, 1), np.bool_)
        number, start, reach = (np.zeros(1, np.int64) for _ in range(3))
        for axis in axes:
            one = window_classes(axis)
            number = np.add.outer(number * len(one.elements), one.number).reshape(-1)
            elements, padded = np.kron(elements, one.elements), np.kron(padded, one.padded)
            start = np.add.outer(start * axis.size, axis.positions[:, 0]).reshape(-1)
            reach = np.add.outer(reach * axis.size, np.arange(axis.kernel) * axis.dilation).reshape(-1)
        return cls(elements, padded, number, start, reach)


def window_index(channels: int, axes: Sequence[WindowAxis]) -> NDArray[np.int64]:
    """Return the input that each element of each window lies on, -1 where that is padding.

    int64, shape (channels * windows, elements of a window); inputs are counted in C order of (channels, *sizes).
    """
    index = np.zeros((1, 1), np.int64)
    for axis in axes:
        step = np.where(axis.inside, axis.positions, -1)
        outside = (index[:, np.newaxis, :, np.newaxis] < 0) | (step[np.newaxis, :, np.newaxis, :] < 0)
        both = index[:, np.newaxis, :, np.newaxis] * axis.size + step[np.newaxis, :, np.newaxis, :]
        index = np.where(outside, -1, both).reshape(len(index) * axis.out, index.shape[1] * axis.kernel)
    area = math.prod(axis.size for axis in axes)
    shifts = np.arange(channels, dtype=np.int64)[:, np.newaxis, np.newaxis] * area
    return np.where(index < 0, -1, index + shifts).reshape(channels * len(index), index.shape[1])
