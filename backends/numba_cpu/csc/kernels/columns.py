"""Computes single columns of a row group in CSC with a sparse accumulator."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.jit import always_inline, inline, prefetch
from backends.common.kernels.activation import activate, activate_row

# Entries of ColumnWork.state
LAYER, N_ROWS, N_ALIVE, TOTAL_OPS, NEEDED, SIDE = range(6)
N_STATE = 8
LAST_STAMP = np.iinfo(np.int32).max


class ColumnWork(NamedTuple):
    """A row group in CSC, which all members of its team work on; two matrices that swap at every layer.

    How many entries a column has is apart from where they start: a walk over the connections of a layer loads 4 bytes, and no
    more, for an input that has none.

    start : int64 (2, widest), n_entries : int32 (2, widest)    where each column's entries start, and how many they are
    room, ops : int64 (widest,)           room that each column of the next matrix needs, and multiply-adds that it takes
    ids0, ids1 : uint16 or uint32 (capacity,), values0, values1 : float32 (capacity,)    rows of the group and values
    rows : int64 (n_rows,)                position in the row group of each row still here
    reached : int32 (n_rows,)             the last layer after which the row had an entry, counted from 1
    alive : int32 (n_rows,)               the rows that have an entry, ascending; as many as ``state[N_ALIVE]`` says
    renumbered : int32 (n_rows,)          new number of each row, while dead ones are dropped
    state : int64 (N_STATE,)
    """

    start: NDArray[np.int64]
    n_entries: NDArray[np.int32]
    room: NDArray[np.int64]
    ops: NDArray[np.int64]
    ids0: NDArray[Any]
    ids1: NDArray[Any]
    values0: NDArray[np.float32]
    values1: NDArray[np.float32]
    rows: NDArray[np.int64]
    reached: NDArray[np.int32]
    alive: NDArray[np.int32]
    renumbered: NDArray[np.int32]
    state: NDArray[np.int64]


class ColumnAccumulator(NamedTuple):
    """One worker's sparse accumulator over the rows of a row group.

    sums : float32 (n_rows,)              zero between columns
    marks : int32 (n_rows,)               stamp of the last column that reached the row
    touched : int32 (n_rows + 1,)         rows that the current column has reached, and one slot to spare
    stamp : int32 (1,)                    stamp of the current column
    """

    sums: NDArray[np.float32]
    marks: NDArray[np.int32]
    touched: NDArray[np.int32]
    stamp: NDArray[np.int32]


@always_inline
def next_stamp(own):
    """A stamp that no row has; int32 stamps start anew, with no row marked, before they run out.

    own : ColumnAccumulator
    """
    stamp = own.stamp[0] + np.int32(1)
    if stamp == LAST_STAMP:
        for row in range(own.marks.shape[0]):
            own.marks[row] = 0
        stamp = np.int32(1)
    own.stamp[0] = stamp
    return stamp


# A dense layer has no ids: connection k of a column that starts at `begin` comes from input k - begin. Only its weights may be
# zero; those of sparse layers never are.


@always_inline
def symbolic_column(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, n_alive, own):
    """Count the distinct rows that one output column reaches, and the multiply-adds it takes.

    conn_ids : uint16 or uint32 (connections,), conn_weights : float32 (connections,)    of all layers, see `Connections`
    begin, end                                                                           the column's connections among them
    start : int64 (widest,), n_entries : int32 (widest,)                                 the matrix before the layer, in CSC
    ids : uint16 or uint32 (capacity,)
    own : ColumnAccumulator
    """
    marks, stamp = own.marks, next_stamp(own)
    reached, n_ops, k = 0, 0, begin
    while k < end and reached < n_alive:
        i = np.uint64(k - begin) if is_dense else np.uint64(conn_ids[np.uint64(k)])
        n_here = np.int64(n_entries[i])
        if n_here > 0 and not (is_dense and conn_weights[np.uint64(k)] == 0):
            n_ops += n_here
            first = start[i]
            for p in range(first, first + n_here):
                row = np.uint64(ids[np.uint64(p)])
                reached += marks[row] != stamp  # without a branch: whether a row is new cannot be predicted
                marks[row] = stamp
        k += 1
    for rest in range(k, end):  # every row that has an entry is reached: only the multiply-adds are left to count
        i = np.uint64(rest - begin) if is_dense else np.uint64(conn_ids[np.uint64(rest)])
        n_here = np.int64(n_entries[i])
        if not (is_dense and conn_weights[np.uint64(rest)] == 0):
            n_ops += n_here
    return reached, n_ops


@always_inline
def accumulate(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values, sums, full):
    """Add up one output column in the accumulator.

    A column of `full` entries holds every row, in order, and is added without looking at its ids; with `full` below 0 none is.

    conn_ids : uint16 or uint32 (connections,), conn_weights : float32 (connections,)    of all layers, see `Connections`
    start : int64 (widest,), n_entries : int32 (widest,)                                 the matrix before the layer, in CSC
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)
    sums : float32 (n_rows,)                                                             result; zero before
    """
    for k in range(begin, end):
        if not is_dense and k + 1 < end:
            following = start[np.uint64(conn_ids[np.uint64(k + 1)])]
            for line in range(4):
                prefetch(values, following + 16 * line)
            for line in range(2):
                prefetch(ids, following + 32 * line)
        i = np.uint64(k - begin) if is_dense else np.uint64(conn_ids[np.uint64(k)])
        n_here = np.int64(n_entries[i])
        if n_here == 0:
            continue
        weight, first = conn_weights[np.uint64(k)], start[i]
        if is_dense and weight == 0:
            continue
        if n_here == full:
            for row in range(full):
                sums[np.uint64(row)] += weight * values[np.uint64(first + row)]
            continue
        for p in range(first, first + n_here):
            at = np.uint64(p)
            sums[np.uint64(ids[at])] += weight * values[at]


@always_inline
def accumulate_few(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values, sums):
    """Add up one output column of few rows in the accumulator: `accumulate` without asking for lines ahead.

    conn_ids : uint16 or uint32 (connections,), conn_weights : float32 (connections,)    of all layers, see `Connections`
    start : int64 (widest,), n_entries : int32 (widest,)                                 the matrix before the layer, in CSC
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)
    sums : float32 (n_rows,)                                                             result; zero before
    """
    for k in range(begin, end):
        i = np.uint64(k - begin) if is_dense else np.uint64(conn_ids[np.uint64(k)])
        n_here = np.int64(n_entries[i])
        if n_here == 0:
            continue
        weight, first = conn_weights[np.uint64(k)], start[i]
        if is_dense and weight == 0:
            continue
        for p in range(first, first + n_here):
            at = np.uint64(p)
            sums[np.uint64(ids[at])] += weight * values[at]


@always_inline
def accumulate_row(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values):
    """Add up one output column that reaches one row, in a register; return that row and its sum.

    conn_ids : uint16 or uint32 (connections,), conn_weights : float32 (connections,)    of all layers, see `Connections`
    start : int64 (widest,), n_entries : int32 (widest,)                                 the matrix before the layer, in CSC
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)
    """
    row, total = np.int64(0), np.float32(0)
    for k in range(begin, end):
        i = np.uint64(k - begin) if is_dense else np.uint64(conn_ids[np.uint64(k)])
        if n_entries[i] == 0:
            continue
        weight, at = conn_weights[np.uint64(k)], np.uint64(start[i])
        if is_dense and weight == 0:
            continue
        row = np.int64(ids[at])
        total += weight * values[at]
    return row, total


@always_inline
def accumulate_marking(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values, own):
    """Add up one output column and list the rows it reaches; return how many.

    conn_ids : uint16 or uint32 (connections,), conn_weights : float32 (connections,)    of all layers, see `Connections`
    start : int64 (widest,), n_entries : int32 (widest,)                                 the matrix before the layer, in CSC
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)
    own : ColumnAccumulator                                                                    result
    """
    marks, sums, touched, stamp = own.marks, own.sums, own.touched, next_stamp(own)
    reached = 0
    for k in range(begin, end):
        i = np.uint64(k - begin) if is_dense else np.uint64(conn_ids[np.uint64(k)])
        n_here = np.int64(n_entries[i])
        if n_here == 0:
            continue
        weight, first = conn_weights[np.uint64(k)], start[i]
        if is_dense and weight == 0:
            continue
        for p in range(first, first + n_here):
            at = np.uint64(p)
            row = np.uint64(ids[at])
            touched[np.uint64(reached)] = np.int32(row)
            reached += marks[row] != stamp
            marks[row] = stamp
            sums[row] += weight * values[at]
    return reached


@inline
def activate_sums(n_rows, sums, bias, bias_at_zero, activations, at):
    """Make activations of an output column's sums, where its neuron has an activation of its own.

    sums : float32 (n_rows,)                             result
    bias, bias_at_zero : float32                         see `activate`
    activations : float32 (4 numbers of each neuron,)    the neuron's from `at` on
    """
    for row in range(n_rows):
        total = sums[np.uint64(row)]
        sums[np.uint64(row)] = total + bias if total != 0 else bias_at_zero
    activate_row(sums, np.int64(0), n_rows, activations, at)


@always_inline
def store_scanned(n_rows, sums, bias, bias_at_zero, low, high, at, ids, values):
    """Append an output column, looking at every row; the store is unconditional, only the position moves.

    sums : float32 (n_rows,)                                            zeroed again
    bias, bias_at_zero, low, high : float32                             see `activate`
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)    result, from `at` on: the matrix after the layer
    """
    for row in range(n_rows):
        r, target = np.uint64(row), np.uint64(at)
        y = activate(sums[r], bias, bias_at_zero, low, high)
        sums[r] = 0
        ids[target] = row
        values[target] = y
        at += y != 0
    return at


@always_inline
def store_listed(n_reached, sums, touched, bias, bias_at_zero, low, high, at, ids, values):
    """Append an output column, looking at the rows in a list.

    sums : float32 (n_rows,)                                            zeroed again
    touched : int32 (n_reached or more,)                                the rows that it may have reached
    bias, bias_at_zero, low, high : float32                             see `activate`
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)    result, from `at` on: the matrix after the layer
    """
    for q in range(n_reached):
        r, target = np.uint64(touched[np.uint64(q)]), np.uint64(at)
        y = activate(sums[r], bias, bias_at_zero, low, high)
        sums[r] = 0
        ids[target] = r
        values[target] = y
        at += y != 0
    return at
