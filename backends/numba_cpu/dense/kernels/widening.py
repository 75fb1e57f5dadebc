"""Makes float32 of weights that are stored in 16 bits, before a column or a group of columns is computed for all its tiles."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.common.short_weights import widened

SHORT_WEIGHTS = 2
"""Dimensions of the scratch for weights of 16 bits. With weights of float32 it has one, and nothing in it: Numba compiles of a
branch on an argument's dimensions the side that is taken, so that neither kernel has code of the other."""


@inline
def widen(weights, begin, apart, count, wide):
    """Write `count` weights, from `begin` on, one after the other into scratch.

    weights : uint16 or int16 (weights of all layers,)      bfloat16, or float16
    wide : float32 (1, floats)                              result
    """
    if apart == 1:  # apart from the others, so that it is done in vectors
        for k in range(count):
            wide[0, np.uint64(k)] = widened(weights[np.uint64(begin + k)])
        return
    for k in range(count):
        wide[0, np.uint64(k)] = widened(weights[np.uint64(begin + k * apart)])
