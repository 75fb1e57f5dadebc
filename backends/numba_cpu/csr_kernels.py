"""Sparse activations in CSR, layer by layer: each row is added up in an accumulator over the next layer's neurons
(Gustavson 1978).

A row's entries are kept in ascending neuron order, so that every output's terms are added in ascending input order. To
append a row in order without sorting it or looking at every neuron, the accumulator is divided into blocks of 64 neurons, and
only those blocks that a row has reached are looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.numba_cpu.jit import atomic_load, inline, kernel

THROUGH, STOPPED, GROW = 0, 1, 2

# Entries of RowWork.state
LAYER, N_ROWS, MULTIPLY_ADDS, NEEDED, SIDE = range(5)
N_STATE = 8
BLOCK_SHIFT = 6


class RowWork(NamedTuple):
    """The memory of one worker's row group in CSR; two matrices that swap at every layer.

    indptr : int64 (2, n_rows + 1)
    ids0, ids1 : uint16 or uint32 (capacity,), values0, values1 : float32 (capacity,)    neurons and values
    rows : int64 (n_rows,)                position in the row group of each row still here
    sums : float32 (64 * n_blocks,)       accumulator, zero between rows
    touched : uint8 (n_blocks,)           blocks of the accumulator that the current row has reached
    state : int64 (N_STATE,)
    """

    indptr: NDArray[np.int64]
    ids0: NDArray[Any]
    ids1: NDArray[Any]
    values0: NDArray[np.float32]
    values1: NDArray[np.float32]
    rows: NDArray[np.int64]
    sums: NDArray[np.float32]
    touched: NDArray[np.uint8]
    state: NDArray[np.int64]


@kernel
def load_rows(indptr, indices, values, rows, ids, vals, new_indptr):
    """Copy rows of a CSR input into a row group."""
    at = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        for k in range(indptr[row], indptr[row + 1]):
            ids[at] = indices[k]
            vals[at] = values[k]
            at += 1
        new_indptr[i + 1] = at


@inline
def room_needed(net, conn, layer, fills, indptr, ids, work):
    """Bound the entries of the next matrix; count the multiply-adds on the way."""
    n_outputs, first = net.widths[layer + 1], conn.start[layer]
    n_rows = work.state[N_ROWS]
    needed, n_ops = 0, 0
    for row in range(n_rows):
        reached = 0
        for p in range(indptr[row], indptr[row + 1]):
            i = np.uint64(first + np.int64(ids[np.uint64(p)]))
            reached += conn.indptr[i + np.uint64(1)] - conn.indptr[i]
        n_ops += reached
        needed += n_outputs if fills else min(reached, n_outputs)
    work.state[NEEDED] = needed
    return n_ops


@inline
def fills_zeros(net, layer):
    """Whether any output of the layer makes something else than zero of a sum of zero."""
    for j in range(net.first[layer], net.first[layer] + net.widths[layer + 1]):
        z = max(net.bias_at_zero[j], net.low[layer])
        if min(z, net.high[layer]) != 0:
            return True
    return False


@inline
def accumulate_row(indptr, conn_ids, conn_weights, first, begin, end, ids, values, sums, touched):
    """Add up one row of the next activations."""
    for p in range(begin, end):
        at = np.uint64(p)
        value = values[at]
        i = np.uint64(first + np.int64(ids[at]))
        for q in range(indptr[i], indptr[i + np.uint64(1)]):
            k = np.uint64(q)
            j = np.uint64(conn_ids[k])
            sums[j] += value * conn_weights[k]
            touched[j >> np.uint64(BLOCK_SHIFT)] = 1


@inline
def store_row(biases, biases_at_zero, base, low, high, n_outputs, fills, sums, touched, at, new_ids, new_values):
    """Append the nonzero activations of the accumulated row in ascending order, and clear the accumulator."""
    for block in range((n_outputs + 63) >> BLOCK_SHIFT):
        if touched[block] == 0 and not fills:
            continue
        touched[block] = 0
        for j in range(block << BLOCK_SHIFT, min((block + 1) << BLOCK_SHIFT, n_outputs)):
            total = sums[np.uint64(j)]
            z = total + biases[base + j] if total != 0 else biases_at_zero[base + j]
            z = low if z < low else z
            z = high if z > high else z
            sums[np.uint64(j)] = 0
            target = np.uint64(at)
            new_ids[target] = j
            new_values[target] = z
            at += z != 0
    return at


@inline
def layer_on_rows(net, conn, prune, layer, ids, values, new_ids, new_values, work):
    """Run one layer from one matrix into the other; return the rows dropped, or -1 if the other has too little room."""
    state, rows, sums, touched = work.state, work.rows, work.sums, work.touched
    side = state[SIDE]
    indptr, new_indptr = work.indptr[side], work.indptr[1 - side]
    fills = fills_zeros(net, layer)
    n_ops = room_needed(net, conn, layer, fills, indptr, ids, work)
    if state[NEEDED] + 1 > new_ids.shape[0]:
        return -1
    conn_indptr, conn_ids, conn_weights, first = conn.indptr, conn.ids, conn.weights, conn.start[layer]
    biases, biases_at_zero, base, n_outputs = net.bias, net.bias_at_zero, net.first[layer], net.widths[layer + 1]
    low, high = net.low[layer], net.high[layer]
    at, kept, n_rows = 0, 0, state[N_ROWS]
    for row in range(n_rows):
        begin = at
        accumulate_row(conn_indptr, conn_ids, conn_weights, first, indptr[row], indptr[row + 1], ids, values, sums, touched)
        at = store_row(biases, biases_at_zero, base, low, high, n_outputs, fills, sums, touched, at, new_ids, new_values)
        if at > begin or not prune:
            rows[kept] = rows[row]
            kept += 1
            new_indptr[kept] = at
    state[MULTIPLY_ADDS] += n_ops
    state[N_ROWS] = kept
    state[SIDE] = 1 - side
    state[LAYER] = layer + 1
    return n_rows - kept


@kernel
def run_rows(net, conn, prune, work, flags, progress):
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
        drop = prune and net.zeros_stay[layer + 1]
        if state[SIDE] == 0:
            dropped = layer_on_rows(net, conn, drop, layer, work.ids0, work.values0, work.ids1, work.values1, work)
        else:
            dropped = layer_on_rows(net, conn, drop, layer, work.ids1, work.values1, work.ids0, work.values0, work)
        if dropped < 0:
            return GROW
        progress[0] += state[N_ROWS] + dropped * (n_layers - layer)
    return THROUGH


@kernel
def sum_rows(n_rows, indptr, values, rows, sums):
    """Add up each row in ascending neuron order."""
    for row in range(n_rows):
        total = 0.0
        for p in range(indptr[row], indptr[row + 1]):
            total += np.float64(values[p])
        sums[rows[row]] = total
