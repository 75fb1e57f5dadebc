"""Where a column's connections are in the compact storage of `packing.Connections`."""

from __future__ import annotations

import numpy as np

from backends.numba_cpu.crews import cut, share
from backends.numba_cpu.jit import inline


@inline
def stored_column(degree, ids_at, indptr, indptr_at, column, column_at, position):
    """Where the ids of the output at a position start, and how many there are."""
    c = position
    if column_at >= 0:
        c = np.int64(column[np.uint64(column_at + position)])
    if degree >= 0:
        return ids_at + c * degree, degree
    begin = indptr[indptr_at + c]
    return ids_at + begin, indptr[indptr_at + c + 1] - begin


@inline
def first_column(conn, layer, n_outputs, member, n_members):
    """First position that falls to a member, so that all have equally many connections."""
    if conn.degree[layer] >= 0:
        return share(n_outputs, member, n_members)
    first = conn.indptr_at[layer]
    return cut(conn.indptr, first, first + n_outputs, member, n_members) - first
