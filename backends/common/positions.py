"""Finds the entries of chosen columns or rows in a compressed matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def entries_at(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions ``start[i] .. stop[i]`` of all i, one after the other; `start` and `stop` have shape (n,), int64."""
    counts = stop - start
    if len(counts) and (counts == counts[0]).all():
        return (start[:, None] + np.arange(counts[0])).reshape(-1)
    at: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(start - np.cumsum(counts) + counts, counts)
    return at
