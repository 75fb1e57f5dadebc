"""Makes arrays of addresses, which a table names. They do not keep their memory."""

from __future__ import annotations

import numpy as np
from numba.np.numpy_support import carray

from backends.common.jit import inline
from backends.common.raw_memory import pointer


@inline
def floats_at(address, n):
    """The float32 array of `n` entries at an address."""
    return carray(pointer(address), n, np.float32)


@inline
def int32s_at(address, n):
    """The int32 array of `n` entries at an address."""
    return carray(pointer(address), n, np.int32)


@inline
def int64s_at(address, n):
    """The int64 array of `n` entries at an address."""
    return carray(pointer(address), n, np.int64)
