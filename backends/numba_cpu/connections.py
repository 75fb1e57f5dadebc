"""Where a column's connections are in the compact storage of `packing.Connections`."""

from __future__ import annotations

import numpy as np

from backends.numba_cpu.crews import cut, share
from backends.numba_cpu.jit import inline

FARTHEST = 64
"""Positions that are looked at for the next stored column."""


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
def next_column(degree, ids_at, indptr, indptr_at, column, column_at, position, last):
    """Find the first position after one, below `last`, that has another stored column.

    Returns it, where that column's ids start, and how many there are: 0 at the end. Looks no further than `FARTHEST` positions.
    """
    start, _ = stored_column(degree, ids_at, indptr, indptr_at, column, column_at, position)
    for following in range(position + 1, min(last, position + FARTHEST)):
        next_start, count = stored_column(degree, ids_at, indptr, indptr_at, column, column_at, following)
        if next_start != start:
            return following, next_start, count
    return min(last, position + FARTHEST), start, np.int64(0)


@inline
def first_column(conn, layer, n_outputs, member, n_members):
    """First position that falls to a member, so that all have equally many connections."""
    if conn.degree[layer] >= 0:
        return share(n_outputs, member, n_members)
    first = conn.indptr_at[layer]
    return cut(conn.indptr, first, first + n_outputs, member, n_members) - first
