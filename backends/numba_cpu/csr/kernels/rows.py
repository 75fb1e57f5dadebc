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

from backends.common.jit import inline, kernel
from backends.common.kernels.activation import activate
from backends.numba_cpu.kernels.team import COMPUTE, GROW, STOPPED, THROUGH, advance, decide, meet, must_leave, show
from sparsednn.backend.shared_memory import FIGURE, FIRST_MEMBER, FROM, LAYER_OPS, LINE, MULTIPLY_ADDS, TO

# Entries of RowWork.state
LAYER, N_ROWS, TOTAL_OPS, NEEDED, SIDE = range(5)
N_STATE = 8
BLOCK_SHIFT = 6


class RowWork(NamedTuple):
    """A row group in CSR, which all members of its crew work on; two matrices that swap at every layer.

    start, stop : int64 (2, n_rows)       where each row's entries are
    ids0, ids1 : uint16 or uint32 (capacity,), values0, values1 : float32 (capacity,)    neurons and values
    rows : int64 (n_rows,)                position in the row group of each row still here
    state : int64 (N_STATE,)
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    ids0: NDArray[Any]
    ids1: NDArray[Any]
    values0: NDArray[np.float32]
    values1: NDArray[np.float32]
    rows: NDArray[np.int64]
    state: NDArray[np.int64]


class Accumulator(NamedTuple):
    """One worker's accumulator over the next layer's neurons.

    sums : float32 (64 * n_blocks,)       zero between rows
    touched : uint8 (n_blocks,)           blocks of the accumulator that the current row has reached
    """

    sums: NDArray[np.float32]
    touched: NDArray[np.uint8]


@kernel
def load_rows(indptr, indices, values, rows, ids, vals, start, stop):
    """Copy rows of a CSR input into a row group."""
    at = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        start[i] = at
        for k in range(indptr[row], indptr[row + 1]):
            ids[at] = indices[k]
            vals[at] = values[k]
            at += 1
        stop[i] = at


@inline
def room_needed(net, conn, layer, fills, first, last, start, stop, ids):
    """Bound the entries of rows ``first .. last`` of the next matrix; returns them and the multiply-adds they take."""
    n_outputs, base, indptr = net.widths[layer + 1], conn.start[layer], conn.indptr
    needed, n_ops = 0, 0
    for row in range(first, last):
        reached = 0
        for p in range(start[row], stop[row]):
            i = np.uint64(base + np.int64(ids[np.uint64(p)]))
            reached += indptr[i + np.uint64(1)] - indptr[i]
        n_ops += reached
        needed += n_outputs if fills else min(reached, n_outputs)
    return needed, n_ops


@inline
def fills_zeros(net, layer):
    """Whether any output of the layer makes something else than zero of a sum of zero."""
    low, high, zero = net.low[layer], net.high[layer], np.float32(0)
    for j in range(net.bias_at[layer], net.bias_at[layer] + net.widths[layer + 1]):
        if activate(zero, zero, net.bias[j] if net.bias_always else zero, low, high) != 0:
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
def store_row(biases, bias_always, base, low, high, n_outputs, fills, sums, touched, at, new_ids, new_values):
    """Append the nonzero activations of the accumulated row in ascending order, and clear the accumulator."""
    for block in range((n_outputs + 63) >> BLOCK_SHIFT):
        if touched[block] == 0 and not fills:
            continue
        touched[block] = 0
        for j in range(block << BLOCK_SHIFT, min((block + 1) << BLOCK_SHIFT, n_outputs)):
            bias = biases[base + j]
            z = activate(sums[np.uint64(j)], bias, bias if bias_always else np.float32(0), low, high)
            sums[np.uint64(j)] = 0
            target = np.uint64(at)
            new_ids[target] = j
            new_values[target] = z
            at += z != 0
    return at


@inline
def cut_rows(n_rows, start, stop, place):
    """Cut the rows so that all members have equally many entries; the leader shows each its rows."""
    shared, n_members, total, before, member = place.shared, place.n_members, 0, 0, 0
    for row in range(n_rows):
        total += stop[row] - start[row]
    shared[FIRST_MEMBER + FROM] = 0
    for row in range(n_rows):
        while member + 1 < n_members and before >= total * (member + 1) // n_members:
            shared[FIRST_MEMBER + LINE * member + TO] = row
            member += 1
            shared[FIRST_MEMBER + LINE * member + FROM] = row
        before += stop[row] - start[row]
    while member + 1 < n_members:
        shared[FIRST_MEMBER + LINE * member + TO] = n_rows
        member += 1
        shared[FIRST_MEMBER + LINE * member + FROM] = n_rows
    shared[FIRST_MEMBER + LINE * member + TO] = n_rows


@inline
def rows_together(
    net, conn, layer, first, last, at, start, stop, ids, values, new_start, new_stop, new_ids, new_values, own, fills
):
    """Compute rows ``first .. last`` of the next matrix and store them from `at` on."""
    conn_indptr, conn_ids, conn_weights, base_in = conn.indptr, conn.ids, conn.weights, conn.start[layer]
    biases, bias_always, base, n_outputs = net.bias, net.bias_always, net.bias_at[layer], net.widths[layer + 1]
    low, high, sums, touched = net.low[layer], net.high[layer], own.sums, own.touched
    for row in range(first, last):
        new_start[row] = at
        accumulate_row(conn_indptr, conn_ids, conn_weights, base_in, start[row], stop[row], ids, values, sums, touched)
        at = store_row(biases, bias_always, base, low, high, n_outputs, fills, sums, touched, at, new_ids, new_values)
        new_stop[row] = at


@inline
def layer_on_rows(net, conn, layer, ids, values, new_ids, new_values, work, own, place):
    """Run one layer from one matrix into the other; COMPUTE when done, GROW if the other has too little room, or STOPPED."""
    state, shared, side, member, n_members = work.state, place.shared, work.state[SIDE], place.member, place.n_members
    start, stop = work.start[side], work.stop[side]
    if n_members > 1:
        if member == 0:
            cut_rows(state[N_ROWS], start, stop, place)
        if not meet(place):
            return STOPPED
        first, last = shared[FIRST_MEMBER + LINE * member + FROM], shared[FIRST_MEMBER + LINE * member + TO]
    else:
        first, last = np.int64(0), state[N_ROWS]
    fills = fills_zeros(net, layer)
    room, n_ops = room_needed(net, conn, layer, fills, first, last, start, stop, ids)
    shared[FIRST_MEMBER + LINE * member + FIGURE] = room + 1  # a slot to spare
    if not meet(place):
        return STOPPED
    needed, at = 0, 0
    for other in range(n_members):
        at += shared[FIRST_MEMBER + LINE * other + FIGURE] if other < member else 0
        needed += shared[FIRST_MEMBER + LINE * other + FIGURE]
    if needed > new_ids.shape[0]:
        if member == 0:
            state[NEEDED] = needed
        return GROW
    rows_together(
        net, conn, layer, first, last, at, start, stop, ids, values, work.start[1 - side], work.stop[1 - side],
        new_ids, new_values, own, fills,
    )  # fmt: skip
    shared[FIRST_MEMBER + LINE * member + LAYER_OPS] = n_ops
    shared[FIRST_MEMBER + LINE * member + MULTIPLY_ADDS] += n_ops
    return COMPUTE if meet(place) else STOPPED


@inline
def finish_layer(net, prune, work, place):
    """The leader's part after a layer: drop dead rows, swap the matrices, count."""
    state, side, shared = work.state, work.state[SIDE], place.shared
    layer, n_rows, n_layers = state[LAYER], state[N_ROWS], net.low.shape[0]
    start, stop, rows, kept = work.start[1 - side], work.stop[1 - side], work.rows, 0
    if prune and net.zeros_stay[layer + 1]:
        for row in range(n_rows):
            if stop[row] > start[row]:
                rows[kept], start[kept], stop[kept] = rows[row], start[row], stop[row]
                kept += 1
    else:
        kept = n_rows
    n_ops = 0
    for member in range(place.n_members):
        n_ops += shared[FIRST_MEMBER + LINE * member + LAYER_OPS]
    state[TOTAL_OPS] += n_ops
    state[N_ROWS], state[SIDE], state[LAYER] = kept, 1 - side, layer + 1
    advance(place, kept + (n_rows - kept) * (n_layers - layer))
    show(place, layer + 1, n_ops)


@inline
def next_step(net, work, place, fresh):
    """What the leader finds at a layer boundary."""
    layer = work.state[LAYER]
    return THROUGH if layer == net.low.shape[0] else must_leave(place, layer, fresh)


@kernel
def run_rows(net, conn, prune, work, own, place):
    """Take a row group through all layers, alone or with others.

    Returns THROUGH, STOPPED (the stop flag was set), CALLED (the leader was called) or GROW (the next matrix needs room for
    ``state[NEEDED]`` entries); in the last two cases the same call, by a crew of any size, goes on from there.
    """
    state, fresh, step = work.state, True, np.int64(COMPUTE)
    while True:
        if place.member == 0:
            step = np.int64(next_step(net, work, place, fresh))
        step = decide(place, step)
        if step != COMPUTE:
            return step
        fresh = False
        layer = state[LAYER]
        if state[SIDE] == 0:
            step = np.int64(layer_on_rows(net, conn, layer, work.ids0, work.values0, work.ids1, work.values1, work, own, place))
        else:
            step = np.int64(layer_on_rows(net, conn, layer, work.ids1, work.values1, work.ids0, work.values0, work, own, place))
        if step != COMPUTE:
            return step
        if place.member == 0:
            finish_layer(net, prune, work, place)


@kernel
def sum_rows(n_rows, start, stop, values, rows, sums):
    """Add up each row in ascending neuron order."""
    for row in range(n_rows):
        total = 0.0
        for p in range(start[row], stop[row]):
            total += np.float64(values[p])
        sums[rows[row]] = total
