"""Takes row groups in CSC through the layers, each as a whole: the algorithm of DistSparseDNN, the published system.

Each layer takes two steps. *Symbolic*: count the distinct rows that each output column reaches, which sizes the storage
and gives each column its place by a prefix sum. *Numeric*: add up each output column in a sparse accumulator over the layer
column's entries in ascending input order, add the bias, apply the activation and keep what is not zero. The
accumulator is that of J. R. Gilbert, C. Moler, R. Schreiber, "Sparse Matrices in MATLAB: Design and Implementation", SIAM J.
Matrix Anal. Appl. 13(1), 1992.
"""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline, kernel
from backends.common.kernels.activation import PER_NEURON, activated_zero
from backends.numba_cpu.csc.kernels.columns import (
    LAYER,
    N_ALIVE,
    N_ROWS,
    NEEDED,
    SIDE,
    TOTAL_OPS,
    accumulate,
    accumulate_marking,
    activate_sums,
    count_alive,
    mark_alive,
    number_alive,
    renumber,
    store_listed,
    store_scanned,
    symbolic_column,
)
from backends.numba_cpu.kernels.team import COMPUTE, GROW, STOPPED, THROUGH, advance, decide, meet, must_leave, share, show
from backends.numba_cpu.layout.kernels.connections import first_column, stored_column
from sparsednn.backend.shared_memory import FIRST_MEMBER, LINE, MULTIPLY_ADDS

DROP = 16
"""Added to what the leader decides when rows have been numbered anew."""

DENSE_SHARE = 4
"""An output column that reaches at least one row in so many is scanned whole; else only the rows it reached."""


@kernel
def load_columns(indptr, indices, values, rows, n_inputs, ids, vals, start, stop):
    """Transpose rows of a CSR input into the columns of a row group; return how many rows have an entry.

    indptr : int32 or int64 (n_instances + 1,), indices : int32 or int64 (nnz,), values : float32 (nnz,)    the input, CSR
    rows : int64 (n_rows,)                                                     the rows of the group among its instances
    ids : uint16 or uint32 (capacity,), vals : float32 (capacity,)             result: the columns one after the other
    start, stop : int64 (widest,)                                              result: where each of `n_inputs` columns is
    """
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
def column_entries(conn, is_dense, layer, n_inputs, j):
    """Where the connections of output j start and end.

    conn : Connections
    """
    if is_dense:
        begin = conn.start[layer] + j * n_inputs
        return begin, begin + n_inputs
    begin, count = stored_column(
        conn.degree[layer], conn.ids_at[layer], conn.indptr, conn.indptr_at[layer], conn.column, conn.column_at[layer], j
    )
    return begin, begin + count


@inline
def symbolic(net, conn, is_dense, layer, first, last, ids, work, own):
    """Count what output columns ``first .. last`` reach and take; and how many multiply-adds they take.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,)        rows of the matrix before the layer
    work : ColumnWork, own : Accumulator      result: work.counts and work.ops
    """
    # Arrays are taken out of their tuples before the loop: inside, each access would count references, with atomics.
    state, side, counts, ops = work.state, work.state[SIDE], work.counts, work.ops
    start, stop = work.start[side], work.stop[side]
    conn_ids, conn_weights, biases, bias_always = conn.ids, conn.weights, net.bias, net.bias_always
    n_inputs, biases_at = net.widths[layer], net.bias_at[layer]
    low, high, zero, n_alive = net.low[layer], net.high[layer], np.float32(0), state[N_ALIVE]
    activations, activations_at = net.activations, net.activations_at[layer]
    for j in range(first, last):
        begin, end = column_entries(conn, is_dense, layer, n_inputs, j)
        reached, n_ops = symbolic_column(conn_ids, conn_weights, is_dense, begin, end, start, stop, ids, n_alive, own)
        at_zero = biases[biases_at + j] if bias_always else zero
        if activated_zero(at_zero, low, high, activations, activations_at, j) != 0:
            reached = state[N_ROWS]  # every row is written, whether it is reached or not
        counts[j], ops[j] = reached, n_ops


@inline
def numeric(net, conn, is_dense, full_columns, layer, first, last, at, ids, values, new_ids, new_values, work, own):
    """Compute output columns ``first .. last``; column by column from `at` on, each as wide as it was counted.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)            the matrix before the layer
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result: the one after it
    work : ColumnWork, own : Accumulator                                        work.start, work.stop: the columns of both
    """
    state, side, sums, touched = work.state, work.state[SIDE], own.sums, own.touched
    start, stop, new_start, new_stop = work.start[side], work.stop[side], work.start[1 - side], work.stop[1 - side]
    counts = work.counts
    conn_ids, conn_weights, biases, bias_always = conn.ids, conn.weights, net.bias, net.bias_always
    n_inputs, biases_at = net.widths[layer], net.bias_at[layer]
    low, high, n_rows, zero = net.low[layer], net.high[layer], state[N_ROWS], np.float32(0)
    activations, activations_at = net.activations, net.activations_at[layer]
    full = n_rows if full_columns and n_rows > 0 else -1
    for j in range(first, last):
        bias = biases[biases_at + j]
        at_zero = bias if bias_always else zero
        begin, end = column_entries(conn, is_dense, layer, n_inputs, j)
        n_counted = counts[j]
        new_start[j] = at
        if activations_at >= 0:
            accumulate(conn_ids, conn_weights, is_dense, begin, end, start, stop, ids, values, sums, full)
            activate_sums(n_rows, sums, bias, at_zero, activations, activations_at + PER_NEURON * j)
            new_stop[j] = store_scanned(n_rows, sums, zero, zero, low, high, at, new_ids, new_values)
        elif n_counted * DENSE_SHARE >= n_rows:
            accumulate(conn_ids, conn_weights, is_dense, begin, end, start, stop, ids, values, sums, full)
            new_stop[j] = store_scanned(n_rows, sums, bias, at_zero, low, high, at, new_ids, new_values)
        else:
            reached = accumulate_marking(conn_ids, conn_weights, is_dense, begin, end, start, stop, ids, values, own)
            new_stop[j] = store_listed(reached, sums, touched, bias, at_zero, low, high, at, new_ids, new_values)
        at += n_counted


@inline
def plan_columns(n_outputs, counts, ops, member, n_members):
    """Cut the columns so that all members have equally much to multiply; all come to the same cuts.

    Returns this member's first column, the one after its last, where it stores (each member has a slot to spare), its
    multiply-adds, those of all, and the room that all need.

    counts, ops : int64 (widest,)    see `ColumnWork`
    """
    total_ops, needed = 0, n_members
    for j in range(n_outputs):
        total_ops += ops[j]
        needed += counts[j]
    low, high = total_ops * member // n_members, total_ops * (member + 1) // n_members
    first, last, at, own_ops, ops_before, counted = 0, 0, 0, 0, 0, member
    for j in range(n_outputs):
        if ops_before >= low and (ops_before < high or member == n_members - 1):
            if last == 0:
                first, at = j, counted
            last = j + 1
            own_ops += ops[j]
        ops_before += ops[j]
        counted += counts[j]
    return first, last, at, own_ops, total_ops, needed


@inline
def layer_on_columns(net, conn, is_dense, full_columns, layer, ids, values, new_ids, new_values, work, own, place):
    """Run one layer from one matrix into the other; COMPUTE when done, GROW if the other has too little room, or STOPPED.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)            the matrix before the layer
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result: the one after it
    work : ColumnWork, own : Accumulator, place : Place
    """
    state, side, member, n_members = work.state, work.state[SIDE], place.member, place.n_members
    n_outputs = net.widths[layer + 1]
    if state[NEEDED] < 0:  # else it was counted before there was too little room
        if is_dense:
            first, last = share(n_outputs, member, n_members), share(n_outputs, member + 1, n_members)
        else:
            first = first_column(conn, layer, n_outputs, member, n_members)
            last = first_column(conn, layer, n_outputs, member + 1, n_members)
        symbolic(net, conn, is_dense, layer, first, last, ids, work, own)
        if not meet(place):
            return STOPPED
    first, last, at, n_ops, total_ops, needed = plan_columns(n_outputs, work.counts, work.ops, member, n_members)
    if needed > new_ids.shape[0]:
        if member == 0:
            state[NEEDED] = needed
        return GROW
    numeric(net, conn, is_dense, full_columns, layer, first, last, at, ids, values, new_ids, new_values, work, own)
    mark_alive(first, last, layer + 1, state[N_ROWS], new_ids, work.start[1 - side], work.stop[1 - side], work.reached)
    place.shared[FIRST_MEMBER + LINE * member + MULTIPLY_ADDS] += n_ops
    if not meet(place):
        return STOPPED
    if member == 0:
        state[TOTAL_OPS] += total_ops
        state[NEEDED], state[SIDE], state[LAYER] = -1, 1 - side, layer + 1
        state[N_ALIVE] = count_alive(layer + 1, state[N_ROWS], work.reached)
        advance(place, state[N_ROWS])
        show(place, layer + 1, total_ops)
    return COMPUTE


@inline
def next_step(net, prune, work, place, fresh):
    """Return the leader's decision at a layer boundary, THROUGH, STOPPED, CALLED or COMPUTE, and whether dead rows are dropped.

    net : Neurons, work : ColumnWork, place : Place
    """
    state = work.state
    layer, n_layers, n_rows = state[LAYER], net.low.shape[0], state[N_ROWS]
    drop = prune and net.zeros_stay[layer] and state[N_ALIVE] < n_rows and layer > 0
    if drop:
        kept = number_alive(layer, n_rows, work.rows, work.reached, work.renumbered)
        state[N_ROWS] = kept
        advance(place, (n_rows - kept) * (n_layers - layer))
    if layer == n_layers:
        return THROUGH, drop
    if prune and state[N_ALIVE] == 0 and net.zeros_stay[layer]:
        advance(place, state[N_ROWS] * (n_layers - layer))
        state[N_ROWS] = 0
        return THROUGH, False
    return must_leave(place, layer, fresh), drop


@inline
def renumber_together(n_columns, ids, values, start, stop, work, place):
    """Bring new row numbers into all columns; False if everything is to stop.

    ids : uint16 or uint32 (capacity,), values : float32 (capacity,), start, stop : int64 (widest,)    the matrix, in CSC
    work : ColumnWork, place : Place
    """
    first, last = share(n_columns, place.member, place.n_members), share(n_columns, place.member + 1, place.n_members)
    renumber(first, last, work.state[N_ROWS], ids, values, start, stop, work.renumbered)
    return meet(place)


@kernel
def run_columns(net, conn, is_dense, prune, full_columns, work, own, place):
    """Take a row group through all layers, alone or with others.

    Returns THROUGH, STOPPED (the stop flag was set), CALLED (the leader was called) or GROW (the next matrix needs room for
    ``state[NEEDED]`` entries); in the last two cases the same call, by a team of any size, goes on from there.

    net : Neurons, conn : Connections, work : ColumnWork, own : Accumulator, place : Place
    """
    state, fresh, step, drop = work.state, True, np.int64(COMPUTE), False
    while True:
        if place.member == 0:
            step, drop = next_step(net, prune, work, place, fresh)
        step = decide(place, np.int64(step + DROP * drop))
        layer, side = state[LAYER], state[SIDE]
        if step >= DROP:
            step -= DROP
            ids, values = (work.ids0, work.values0) if side == 0 else (work.ids1, work.values1)
            if not renumber_together(net.widths[layer], ids, values, work.start[side], work.stop[side], work, place):
                return np.int64(STOPPED)
        if step != COMPUTE:
            return step
        fresh = False
        if side == 0:
            step = np.int64(
                layer_on_columns(
                    net, conn, is_dense, full_columns, layer, work.ids0, work.values0, work.ids1, work.values1, work, own, place
                )
            )
        else:
            step = np.int64(
                layer_on_columns(
                    net, conn, is_dense, full_columns, layer, work.ids1, work.values1, work.ids0, work.values0, work, own, place
                )
            )
        if step != COMPUTE:
            return step


@kernel
def sum_columns(n_columns, ids, values, start, stop, rows, sums):
    """Add up each row over the columns in ascending order.

    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)    the last activations
    start, stop : int64 (n_columns,)                                    where each column is
    rows : int64 (n_rows,)                                              position in the row group of each row still there
    sums : float64 (n_rows,)                                            result, added to
    """
    for j in range(n_columns):
        for p in range(start[j], stop[j]):
            sums[rows[ids[p]]] += np.float64(values[p])
