"""Sparse activations in CSC, layer by layer over a whole row group: the reference algorithm of the paper.

Each layer takes two steps. *Symbolic*: count the distinct rows that each output column reaches, which sizes the storage and gives
each column its place by a prefix sum. *Numeric*: add up each output column in a sparse accumulator over the layer column's entries
in ascending input order, add the bias, apply the activation and keep what is not zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.numba_cpu.jit import atomic_load, inline, kernel

THROUGH, STOPPED, GROW = 0, 1, 2

# Entries of ColumnWork.state
LAYER, N_ROWS, N_ALIVE, MULTIPLY_ADDS, NEEDED, SIDE, STAMP = range(7)
N_STATE = 8

DENSE_SHARE = 4
"""An output column that reaches at least one row in so many is scanned whole; else only the rows it reached."""


class ColumnWork(NamedTuple):
    """The memory of one worker's row group in CSC; two matrices that swap at every layer.

    start, stop : int64 (2, widest)       where each column's entries are
    ids0, ids1 : uint16 or uint32 (capacity,), values0, values1 : float32 (capacity,)    rows of the group and values
    rows : int64 (n_rows,)                position in the row group of each row still here
    sums : float32 (n_rows,)              sparse accumulator, zero between columns
    marks : int64 (n_rows,)               stamp of the last column that reached the row
    touched : int64 (n_rows,)             rows that the current column has reached
    state : int64 (N_STATE,)
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    ids0: NDArray[Any]
    ids1: NDArray[Any]
    values0: NDArray[np.float32]
    values1: NDArray[np.float32]
    rows: NDArray[np.int64]
    sums: NDArray[np.float32]
    marks: NDArray[np.int64]
    touched: NDArray[np.int64]
    state: NDArray[np.int64]


@kernel
def load_columns(indptr, indices, values, rows, n_inputs, ids, vals, start, stop):
    """Transpose rows of a CSR input into the columns of a row group; return how many rows have an entry."""
    stop[:n_inputs] = 0
    n_alive = 0
    for row in rows:
        n_alive += indptr[row] < indptr[row + 1]
        for k in range(indptr[row], indptr[row + 1]):
            stop[indices[k]] += 1
    at = 0
    for j in range(n_inputs):
        start[j] = at
        at += stop[j]
        stop[j] = start[j]
    for i in range(rows.shape[0]):
        row = rows[i]
        for k in range(indptr[row], indptr[row + 1]):
            j = indices[k]
            ids[stop[j]] = i
            vals[stop[j]] = values[k]
            stop[j] += 1
    return n_alive


@inline
def count_alive(n_columns, ids, start, stop, work):
    """Count the rows that have an entry; stops early when all have."""
    state, marks = work.state, work.marks
    state[STAMP] += 1
    stamp, n_alive = state[STAMP], 0
    for j in range(n_columns):
        for p in range(start[j], stop[j]):
            row = np.uint64(ids[np.uint64(p)])
            if marks[row] != stamp:
                marks[row] = stamp
                n_alive += 1
        if n_alive == state[N_ROWS]:
            break
    return n_alive


@inline
def drop_dead(n_columns, ids, start, stop, work):
    """Renumber the rows that have an entry, where that saves an eighth of them; return how many were dropped."""
    state, marks, touched = work.state, work.marks, work.touched
    dropped = state[N_ROWS] - state[N_ALIVE]
    if dropped * 8 < state[N_ROWS]:
        return 0
    kept = 0
    for row in range(state[N_ROWS]):
        if marks[row] == state[STAMP]:
            touched[row] = kept
            work.rows[kept] = work.rows[row]
            kept += 1
    for j in range(n_columns):
        for p in range(start[j], stop[j]):
            at = np.uint64(p)
            ids[at] = touched[np.uint64(ids[at])]
    state[N_ROWS] = kept
    return dropped


@inline
def symbolic_column(ids_in, weights_in, begin, end, start, stop, ids, work):
    """Count the distinct rows that one output column reaches, and the multiply-adds it takes."""
    state, marks = work.state, work.marks
    state[STAMP] += 1
    stamp, reached, n_ops = state[STAMP], 0, 0
    for k in range(begin, end):
        if weights_in[k] == 0:
            continue
        i = np.uint64(ids_in[np.uint64(k)])
        n_ops += stop[i] - start[i]
        if reached == state[N_ALIVE]:
            continue  # every row that has an entry is reached: only the multiply-adds are left to count
        for p in range(start[i], stop[i]):
            row = np.uint64(ids[np.uint64(p)])
            if marks[row] != stamp:
                marks[row] = stamp
                reached += 1
    return reached, n_ops


@inline
def accumulate(ids_in, weights_in, begin, end, start, stop, ids, values, sums):
    """Add up one output column in the accumulator."""
    for k in range(begin, end):
        weight = weights_in[k]
        if weight == 0:
            continue
        i = np.uint64(ids_in[np.uint64(k)])
        for p in range(start[i], stop[i]):
            at = np.uint64(p)
            sums[np.uint64(ids[at])] += weight * values[at]


@inline
def accumulate_marking(ids_in, weights_in, begin, end, start, stop, ids, values, work):
    """Add up one output column and list the rows it reaches; return how many."""
    state, marks, sums, touched = work.state, work.marks, work.sums, work.touched
    state[STAMP] += 1
    stamp, reached = state[STAMP], 0
    for k in range(begin, end):
        weight = weights_in[k]
        if weight == 0:
            continue
        i = np.uint64(ids_in[np.uint64(k)])
        for p in range(start[i], stop[i]):
            at = np.uint64(p)
            row = np.uint64(ids[at])
            if marks[row] != stamp:
                marks[row] = stamp
                touched[np.uint64(reached)] = np.int64(row)
                reached += 1
            sums[row] += weight * values[at]
    return reached


@inline
def activate(total, bias, bias_at_zero, low, high):
    """Add the bias and clamp."""
    z = total + bias if total != 0 else bias_at_zero
    z = low if z < low else z
    return high if z > high else z


@inline
def store_scanned(n_rows, sums, bias, bias_at_zero, low, high, at, ids, values):
    """Append an output column, looking at every row; the store is unconditional, only the position moves."""
    for row in range(n_rows):
        r, target = np.uint64(row), np.uint64(at)
        y = activate(sums[r], bias, bias_at_zero, low, high)
        sums[r] = 0
        ids[target] = row
        values[target] = y
        at += y != 0
    return at


@inline
def store_listed(n_reached, sums, touched, bias, bias_at_zero, low, high, at, ids, values):
    """Append an output column, looking at the rows it reached."""
    for q in range(n_reached):
        r, target = np.uint64(touched[np.uint64(q)]), np.uint64(at)
        y = activate(sums[r], bias, bias_at_zero, low, high)
        sums[r] = 0
        ids[target] = r
        values[target] = y
        at += y != 0
    return at


@inline
def column_entries(net, conn, is_dense, layer, j):
    """Where the entries of an output column are in `conn`."""
    if is_dense:
        begin = conn.start[layer] + j * net.widths[layer]
        return begin, begin + net.widths[layer]
    column = net.first[layer] + j
    return conn.indptr[column], conn.indptr[column + 1]


@inline
def fills_zeros(net, layer, j):
    """Whether an output column makes something else than zero of a sum of zero."""
    at = net.first[layer] + j
    zero = np.float32(0)
    return activate(zero, zero, net.bias_at_zero[at], net.low[layer], net.high[layer]) != 0


@inline
def symbolic(net, conn, is_dense, dense_ids, layer, first, last, ids, work):
    """Count what output columns ``first .. last`` reach; leaves the counts in the other side's `stop`.

    Returns the entries to make room for.
    """
    state, side = work.state, work.state[SIDE]
    start, stop, counts = work.start[side], work.stop[side], work.stop[1 - side]
    total, n_ops = 0, 0
    for j in range(first, last):
        begin, end = column_entries(net, conn, is_dense, layer, j)
        if is_dense:
            reached, ops = symbolic_column(dense_ids, conn.weights[begin:end], 0, end - begin, start, stop, ids, work)
        else:
            reached, ops = symbolic_column(conn.ids, conn.weights, begin, end, start, stop, ids, work)
        if fills_zeros(net, layer, j):
            reached = state[N_ROWS]
        counts[j] = reached
        total += reached
        n_ops += ops
    state[NEEDED] = total
    return n_ops


@inline
def numeric(net, conn, is_dense, dense_ids, layer, first, last, at, ids, values, new_ids, new_values, work):
    """Compute output columns ``first .. last``; column by column from `at` on, each as wide as it was counted."""
    state, side = work.state, work.state[SIDE]
    start, stop = work.start[side], work.stop[side]
    new_start, new_stop = work.start[1 - side], work.stop[1 - side]
    low, high, n_rows = net.low[layer], net.high[layer], state[N_ROWS]
    for j in range(first, last):
        neuron = net.first[layer] + j
        bias, at_zero = net.bias[neuron], net.bias_at_zero[neuron]
        begin, end = column_entries(net, conn, is_dense, layer, j)
        n_counted = new_stop[j]
        new_start[j] = at
        scanned = n_counted * DENSE_SHARE >= n_rows
        reached = 0
        if is_dense:
            weights = conn.weights[begin:end]
            if scanned:
                accumulate(dense_ids, weights, 0, end - begin, start, stop, ids, values, work.sums)
            else:
                reached = accumulate_marking(dense_ids, weights, 0, end - begin, start, stop, ids, values, work)
        elif scanned:
            accumulate(conn.ids, conn.weights, begin, end, start, stop, ids, values, work.sums)
        else:
            reached = accumulate_marking(conn.ids, conn.weights, begin, end, start, stop, ids, values, work)
        if scanned:
            new_stop[j] = store_scanned(n_rows, work.sums, bias, at_zero, low, high, at, new_ids, new_values)
        else:
            new_stop[j] = store_listed(
                reached, work.sums, work.touched, bias, at_zero, low, high, at, new_ids, new_values
            )
        at += n_counted


@inline
def layer_on_columns(net, conn, is_dense, dense_ids, layer, ids, values, new_ids, new_values, work):
    """Run one layer from one matrix into the other; False if the other has too little room."""
    state = work.state
    n_outputs = net.widths[layer + 1]
    n_ops = symbolic(net, conn, is_dense, dense_ids, layer, 0, n_outputs, ids, work)
    if state[NEEDED] + 1 > new_ids.shape[0]:
        return False
    numeric(net, conn, is_dense, dense_ids, layer, 0, n_outputs, 0, ids, values, new_ids, new_values, work)
    state[MULTIPLY_ADDS] += n_ops
    state[SIDE] = 1 - state[SIDE]
    state[LAYER] = layer + 1
    state[N_ALIVE] = count_alive(n_outputs, new_ids, work.start[state[SIDE]], work.stop[state[SIDE]], work)
    return True


@kernel
def run_columns(net, conn, is_dense, dense_ids, prune, work, flags, progress):
    """Take a row group through all layers.

    Returns THROUGH, STOPPED (the stop flag was set at a layer boundary) or GROW (the next matrix needs room for
    ``state[NEEDED]`` entries and one more); in the last two cases the same call goes on from there.
    """
    state = work.state
    n_layers = net.low.shape[0]
    while state[LAYER] < n_layers:
        if atomic_load(flags, 0) != 0:
            return STOPPED
        layer = state[LAYER]
        if prune and state[N_ALIVE] == 0 and net.zeros_stay[layer]:
            progress[0] += state[N_ROWS] * (n_layers - layer)
            state[N_ROWS] = 0
            return THROUGH
        if state[SIDE] == 0:
            done = layer_on_columns(
                net, conn, is_dense, dense_ids, layer, work.ids0, work.values0, work.ids1, work.values1, work
            )
        else:
            done = layer_on_columns(
                net, conn, is_dense, dense_ids, layer, work.ids1, work.values1, work.ids0, work.values0, work
            )
        if not done:
            return GROW
        progress[0] += state[N_ROWS]
        if prune and net.zeros_stay[layer + 1]:
            ids = work.ids0 if state[SIDE] == 0 else work.ids1
            start, stop = work.start[state[SIDE]], work.stop[state[SIDE]]
            progress[0] += drop_dead(net.widths[layer + 1], ids, start, stop, work) * (n_layers - layer - 1)
    return THROUGH


@kernel
def sum_columns(n_columns, ids, values, start, stop, rows, sums):
    """Add up each row over the columns in ascending order."""
    for j in range(n_columns):
        for p in range(start[j], stop[j]):
            sums[rows[ids[p]]] += np.float64(values[p])
