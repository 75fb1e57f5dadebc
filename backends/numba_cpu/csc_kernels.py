"""Sparse activations in CSC, layer by layer over a whole row group: the reference algorithm of the paper.

Each layer takes two steps. *Symbolic*: count the distinct rows that each output column reaches, which sizes the storage
and gives each column its place by a prefix sum. *Numeric*: add up each output column in a sparse accumulator over the layer
column's entries in ascending input order, add the bias, apply the activation and keep what is not zero.
"""

from __future__ import annotations

import numpy as np

from backends.numba_cpu.csc_columns import (
    COUNTED_OPS,
    LAYER,
    MULTIPLY_ADDS,
    N_ALIVE,
    N_ROWS,
    NEEDED,
    SIDE,
    accumulate,
    accumulate_marking,
    activate,
    count_alive,
    drop_dead,
    store_listed,
    store_scanned,
    symbolic_column,
)
from backends.numba_cpu.jit import atomic_load, inline, kernel

THROUGH, STOPPED, GROW = 0, 1, 2

DENSE_SHARE = 4
"""An output column that reaches at least one row in so many is scanned whole; else only the rows it reached."""


@kernel
def load_columns(indptr, indices, values, rows, n_inputs, ids, vals, start, stop):
    """Transpose rows of a CSR input into the columns of a row group; return how many rows have an entry."""
    for j in range(n_inputs):
        stop[j] = 0
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
def column_entries(indptr, dense_start, n_inputs, is_dense, column, j):
    """Where the connections of output j, entry `column` of indptr, start and end."""
    if is_dense:
        begin = dense_start + j * n_inputs
        return begin, begin + n_inputs
    return indptr[column], indptr[column + 1]


@inline
def dense_start(conn, is_dense, layer):
    """Where a dense layer's weights start."""
    return conn.start[layer] if is_dense else np.int64(0)


@inline
def symbolic(net, conn, is_dense, layer, first, last, ids, work):
    """Count what output columns ``first .. last`` reach; leaves the counts in the other side's `stop`.

    Returns the multiply-adds; the entries to make room for are in ``state[NEEDED]``.
    """
    # Arrays are taken out of their tuples before the loop: inside, each access would count references, with atomics.
    state, side = work.state, work.state[SIDE]
    start, stop, counts = work.start[side], work.stop[side], work.stop[1 - side]
    indptr, conn_ids, conn_weights, biases_at_zero = conn.indptr, conn.ids, conn.weights, net.bias_at_zero
    weights_at, n_inputs, base = dense_start(conn, is_dense, layer), net.widths[layer], net.first[layer]
    low, high, zero = net.low[layer], net.high[layer], np.float32(0)
    total, n_ops = 0, 0
    for j in range(first, last):
        begin, end = column_entries(indptr, weights_at, n_inputs, is_dense, base + j, j)
        reached, ops = symbolic_column(conn_ids, conn_weights, is_dense, begin, end, start, stop, ids, work)
        if activate(zero, zero, biases_at_zero[base + j], low, high) != 0:
            reached = state[N_ROWS]
        counts[j] = reached
        total += reached
        n_ops += ops
    state[NEEDED] = total
    return n_ops


@inline
def numeric(net, conn, is_dense, full_columns, layer, first, last, at, ids, values, new_ids, new_values, work):
    """Compute output columns ``first .. last``; column by column from `at` on, each as wide as it was counted."""
    state, side, sums, touched = work.state, work.state[SIDE], work.sums, work.touched
    start, stop, new_start, new_stop = work.start[side], work.stop[side], work.start[1 - side], work.stop[1 - side]
    indptr, conn_ids, conn_weights, biases, biases_at_zero = conn.indptr, conn.ids, conn.weights, net.bias, net.bias_at_zero
    weights_at, n_inputs, base = dense_start(conn, is_dense, layer), net.widths[layer], net.first[layer]
    low, high, n_rows = net.low[layer], net.high[layer], state[N_ROWS]
    full = n_rows if full_columns and n_rows > 0 else -1
    for j in range(first, last):
        bias, at_zero = biases[base + j], biases_at_zero[base + j]
        begin, end = column_entries(indptr, weights_at, n_inputs, is_dense, base + j, j)
        n_counted = new_stop[j]
        new_start[j] = at
        if n_counted * DENSE_SHARE >= n_rows:
            accumulate(conn_ids, conn_weights, is_dense, begin, end, start, stop, ids, values, sums, full)
            new_stop[j] = store_scanned(n_rows, sums, bias, at_zero, low, high, at, new_ids, new_values)
        else:
            reached = accumulate_marking(conn_ids, conn_weights, is_dense, begin, end, start, stop, ids, values, work)
            new_stop[j] = store_listed(reached, sums, touched, bias, at_zero, low, high, at, new_ids, new_values)
        at += n_counted


@inline
def layer_on_columns(net, conn, is_dense, full_columns, layer, ids, values, new_ids, new_values, work):
    """Run one layer from one matrix into the other; False if the other has too little room."""
    state = work.state
    n_outputs = net.widths[layer + 1]
    if state[NEEDED] < 0:  # else it was counted before there was too little room
        state[COUNTED_OPS] = symbolic(net, conn, is_dense, layer, 0, n_outputs, ids, work)
    if state[NEEDED] + 1 > new_ids.shape[0]:
        return False
    numeric(net, conn, is_dense, full_columns, layer, 0, n_outputs, 0, ids, values, new_ids, new_values, work)
    state[MULTIPLY_ADDS] += state[COUNTED_OPS]
    state[NEEDED] = -1
    state[SIDE] = 1 - state[SIDE]
    state[LAYER] = layer + 1
    state[N_ALIVE] = count_alive(n_outputs, new_ids, work.start[state[SIDE]], work.stop[state[SIDE]], work)
    return True


@kernel
def run_columns(net, conn, is_dense, prune, full_columns, work, flags, progress):
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
                net, conn, is_dense, full_columns, layer, work.ids0, work.values0, work.ids1, work.values1, work
            )
        else:
            done = layer_on_columns(
                net, conn, is_dense, full_columns, layer, work.ids1, work.values1, work.ids0, work.values0, work
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
