"""Finds a column's connections in the compact storage of `packing.Connections`."""

from __future__ import annotations

from backends.common.jit import entry_or, inline
from backends.numba_cpu.kernels.team import cut, share
from backends.numba_cpu.layout.kernels.groups import GROUP


@inline
def stored_column(degree, ids_at, indptr, indptr_at, column, column_at, position):
    """Where the ids of the output at a position start, and how many there are.

    indptr : int64 (all,), column : uint16 or uint32 (all,)    see `packing.Connections`
    """
    c = entry_or(column, column_at + position, column_at >= 0, position)
    begin = entry_or(indptr, indptr_at + c, degree < 0, c * degree)
    return ids_at + begin, entry_or(indptr, indptr_at + c + 1, degree < 0, begin + degree) - begin


@inline
def first_column(conn, layer, n_outputs, member, n_members):
    """First position that falls to a member, so that all have equally many connections; where there are groups, equally many of
    them.

    conn : Connections
    """
    if conn.n_groups[layer] > 0:
        return min(share((n_outputs + GROUP - 1) // GROUP, member, n_members) * GROUP, n_outputs)
    if conn.offset_at[layer] >= 0:
        first = conn.before_at[layer]
        return cut(conn.before, first, first + n_outputs, member, n_members) - first
    if conn.degree[layer] >= 0:
        return share(n_outputs, member, n_members)
    first = conn.indptr_at[layer]
    return cut(conn.indptr, first, first + n_outputs, member, n_members) - first
