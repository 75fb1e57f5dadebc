"""Finds the rows of a row group that are still alive, numbers them anew, and brings the numbers into a matrix in CSC."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline


@inline
def mark_alive(first, last, layer, n_rows, ids, start, n_entries, reached):
    """Note which rows have an entry in columns ``first .. last`` of the matrix before `layer`; stops when all are found here.

    Several workers may write the same value to the same place at once, which is harmless.

    ids : uint16 or uint32 (capacity,), start : int64 (widest,), n_entries : int32 (widest,)    the matrix, in CSC
    reached : int32 (n_rows,)                                                                  see `ColumnWork`
    """
    stamp, n_found = np.int32(layer + 1), 0
    for j in range(first, last):
        begin = start[j]
        for p in range(begin, begin + n_entries[j]):
            row = np.uint64(ids[np.uint64(p)])
            n_found += reached[row] != stamp
            reached[row] = stamp
        if n_found == n_rows:
            break


@inline
def list_alive(layer, n_rows, reached, alive):
    """List the rows that have an entry before `layer`, once all columns are marked; return how many.

    reached, alive : int32 (n_rows,)    see `ColumnWork`
    """
    stamp, n_alive = np.int32(layer + 1), 0
    for row in range(n_rows):
        alive[np.uint64(n_alive)] = np.int32(row)
        n_alive += reached[np.uint64(row)] == stamp
    return n_alive


@inline
def number_alive(n_alive, rows, reached, alive, renumbered):
    """Number the rows that are alive from 0 and move them to the front.

    rows : int64 (n_rows,), reached, alive, renumbered : int32 (n_rows,)    see `ColumnWork`
    """
    for kept in range(n_alive):
        row = alive[kept]
        renumbered[row] = kept
        rows[kept] = rows[row]
        reached[kept] = reached[row]
        alive[kept] = kept


@inline
def renumber(first, last, n_rows, ids, values, start, n_entries, renumbered):
    """Bring the new numbers into columns ``first .. last``; one that holds all `n_rows` that are left is put in order.

    It may have been stored in the order in which its rows were reached, when there were more of them.

    ids : uint16 or uint32 (capacity,), values : float32 (capacity,), start : int64 (widest,)    the matrix, in CSC
    n_entries : int32 (widest,)
    renumbered : int32 (n_rows before,)                                                         new number of each row
    """
    for j in range(first, last):
        begin = start[j]
        for p in range(begin, begin + n_entries[j]):
            at = np.uint64(p)
            ids[at] = renumbered[np.uint64(ids[at])]
        if n_entries[j] != n_rows:
            continue
        for row in range(n_rows):
            at = np.uint64(begin + row)
            while ids[at] != row:
                other = np.uint64(begin + np.int64(ids[at]))
                ids[at], ids[other] = ids[other], ids[at]
                values[at], values[other] = values[other], values[at]
