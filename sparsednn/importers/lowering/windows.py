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
