"""Takes row groups in CSR through the layers, each as a whole and row by row.

A row of the next matrix is the sum of the layer's rows at the entries of the row before, weighted with these (F. G. Gustavson,
"Two Fast Algorithms for Sparse Matrices: Multiplication and Permuted Transposition", ACM TOMS 4(3), 1978).
"""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline, kernel
from backends.numba_cpu.csr.kernels.rows import (
    LAYER,
    N_ROWS,
    NEEDED,
    SIDE,
    TOTAL_OPS,
    accumulate_row,
    fills_zeros,
    room_needed,
    store_own_row,
    store_row,
)
from backends.numba_cpu.kernels.team import COMPUTE, GROW, STOPPED, THROUGH, advance, decide, meet, must_leave, show
from sparsednn.backend.shared_memory import FIGURE, FIRST_MEMBER, FROM, LAYER_OPS, LINE, MULTIPLY_ADDS, TO


@kernel
def load_rows(indptr, indices, values, rows, ids, vals, start, stop):
    """Copy rows of a CSR input into a row group.

    indptr : int32 or int64 (n_instances + 1,), indices : int32 or int64 (nnz,), values : float32 (nnz,)    the input, CSR
    rows : int64 (n_rows,)                                            the rows of the group among its instances
    ids : uint16 or uint32 (capacity,), vals : float32 (capacity,)    result: the rows one after the other
    start, stop : int64 (n_rows,)                                     result: where each row is
    """
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
def cut_rows(n_rows, start, stop, place):
    """Cut the rows so that all members have equally many entries; the leader shows each its rows.

    start, stop : int64 (n_rows,), place : Place    where each row's entries are
    """
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
    """Compute rows ``first .. last`` of the next matrix and store them from `at` on.

    net : Neurons, conn : Connections, own : Accumulator
    start, stop : int64 (n_rows,), ids : uint16 or uint32 (capacity,), values : float32 (capacity,)    before the layer, CSR
    new_start, new_stop : int64 (n_rows,)                                                              result: after it
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)
    """
    conn_indptr, conn_ids, conn_weights, base_in = conn.indptr, conn.ids, conn.weights, conn.start[layer]
    biases, bias_always, base, n_outputs = net.bias, net.bias_always, net.bias_at[layer], net.widths[layer + 1]
    low, high, sums, touched = net.low[layer], net.high[layer], own.sums, own.touched
    activations, activations_at = net.activations, net.activations_at[layer]
    for row in range(first, last):
        new_start[row] = at
        accumulate_row(conn_indptr, conn_ids, conn_weights, base_in, start[row], stop[row], ids, values, sums, touched)
        if activations_at >= 0:
            at = store_own_row(
                biases, bias_always, base, activations, activations_at, n_outputs, fills, sums, touched, at, new_ids, new_values
            )
        else:
            at = store_row(biases, bias_always, base, low, high, n_outputs, fills, sums, touched, at, new_ids, new_values)
        new_stop[row] = at


@inline
def layer_on_rows(net, conn, layer, ids, values, new_ids, new_values, work, own, place):
    """Run one layer from one matrix into the other; COMPUTE when done, GROW if the other has too little room, or STOPPED.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)            the matrix before the layer
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result: the one after it
    work : RowWork, own : Accumulator, place : Place
    """
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
    """The leader's part after a layer: drop dead rows, swap the matrices, count.

    net : Neurons, work : RowWork, place : Place
    """
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
    """Return the leader's decision at a layer boundary: THROUGH, STOPPED, CALLED or COMPUTE.

    net : Neurons, work : RowWork, place : Place
    """
    layer = work.state[LAYER]
    return THROUGH if layer == net.low.shape[0] else must_leave(place, layer, fresh)


@kernel
def run_rows(net, conn, prune, work, own, place):
    """Take a row group through all layers, alone or with others.

    Returns THROUGH, STOPPED (the stop flag was set), CALLED (the leader was called) or GROW (the next matrix needs room for
    ``state[NEEDED]`` entries); in the last two cases the same call, by a team of any size, goes on from there.

    net : Neurons, conn : Connections, work : RowWork, own : Accumulator, place : Place
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
    """Add up each row in ascending neuron order.

    start, stop : int64 (n_rows,), values : float32 (capacity,)    the last activations, in CSR
    rows : int64 (n_rows,)                                         position in the row group of each row still there
    sums : float64 (rows of the group,)                            result
    """
    for row in range(n_rows):
        total = 0.0
        for p in range(start[row], stop[row]):
            total += np.float64(values[p])
        sums[rows[row]] = total
