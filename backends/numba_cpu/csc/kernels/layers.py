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
from backends.common.kernels.activation import PER_NEURON, activate, activated_zero
from backends.numba_cpu.csc.kernels.alive import list_alive, mark_alive, renumber
from backends.numba_cpu.csc.kernels.columns import (
    LAYER,
    N_ALIVE,
    N_ROWS,
    NEEDED,
    SIDE,
    TOTAL_OPS,
    accumulate,
    accumulate_few,
    accumulate_marking,
    accumulate_row,
    activate_sums,
    store_listed,
    store_scanned,
    symbolic_column,
)
from backends.numba_cpu.csc.kernels.steps import DENSE_SHARE, DROP, next_step, plan_columns
from backends.numba_cpu.kernels.team import COMPUTE, GROW, STOPPED, advance, decide, meet, share, show
from backends.numba_cpu.layout.kernels.connections import first_column, stored_column
from sparsednn.backend.shared_memory import FIRST_MEMBER, LINE, MULTIPLY_ADDS


@kernel
def load_columns(indptr, indices, values, rows, n_inputs, ids, vals, start, n_entries, alive):
    """Transpose rows of a CSR input into the columns of a row group; return how many rows have an entry.

    indptr : int32 or int64 (n_instances + 1,), indices : int32 or int64 (nnz,), values : float32 (nnz,)    the input, CSR
    rows : int64 (n_rows,)                                                     the rows of the group among its instances
    ids : uint16 or uint32 (capacity,), vals : float32 (capacity,)             result: the columns one after the other
    start : int64 (widest,), n_entries : int32 (widest,)                       result: where each of `n_inputs` columns is
    alive : int32 (n_rows,)                                                    result: the rows that have an entry
    """
    for j in range(n_inputs):
        n_entries[j] = 0
    n_alive = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        alive[n_alive] = i
        n_alive += indptr[row] < indptr[row + 1]
        for k in range(indptr[row], indptr[row + 1]):
            n_entries[indices[k]] += 1
    end = 0
    for j in range(n_inputs):
        end += n_entries[j]
        start[j] = end
    for i in range(rows.shape[0] - 1, -1, -1):  # the last row first: columns fill up from their ends
        row = rows[i]
        for k in range(indptr[row], indptr[row + 1]):
            j = indices[k]
            start[j] -= 1
            ids[start[j]] = i
            vals[start[j]] = values[k]
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
def symbolic(net, conn, is_dense, skip_empty, layer, first, last, ids, work, own):
    """Count what output columns ``first .. last`` reach and take; and how many multiply-adds they take.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,)        rows of the matrix before the layer
    work : ColumnWork, own : Accumulator      result: work.room and work.ops
    """
    # Arrays are taken out of their tuples before the loop: inside, each access would count references, with atomics.
    state, side, room, ops = work.state, work.state[SIDE], work.room, work.ops
    start, n_entries = work.start[side], work.n_entries[side]
    conn_ids, conn_weights, biases, bias_always = conn.ids, conn.weights, net.bias, net.bias_always
    n_inputs, biases_at = net.widths[layer], net.bias_at[layer]
    low, high, zero, n_alive = net.low[layer], net.high[layer], np.float32(0), state[N_ALIVE]
    activations, activations_at = net.activations, net.activations_at[layer]
    for j in range(first, last):
        reached, n_ops = 0, 0
        if n_alive > 0 or not skip_empty:
            begin, end = column_entries(conn, is_dense, layer, n_inputs, j)
            reached, n_ops = symbolic_column(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, n_alive, own)
        at_zero = biases[biases_at + j] if bias_always else zero
        if activated_zero(at_zero, low, high, activations, activations_at, j) != 0:
            reached = state[N_ROWS]  # every row is written, whether it is reached or not
        room[j], ops[j] = reached, n_ops


@inline
def numeric(net, conn, is_dense, full_columns, skip_empty, layer, first, last, at, ids, values, new_ids, new_values, work, own):
    """Compute output columns ``first .. last``; column by column from `at` on, each as wide as it was counted.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)            the matrix before the layer
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result: the one after it
    work : ColumnWork, own : Accumulator                                        work.start, work.n_entries: columns of both
    """
    state, side, sums, touched, alive = work.state, work.state[SIDE], own.sums, own.touched, work.alive
    start, n_entries, new_start, new_n_entries = (
        work.start[side],
        work.n_entries[side],
        work.start[1 - side],
        work.n_entries[1 - side],
    )
    room = work.room
    conn_ids, conn_weights, biases, bias_always = conn.ids, conn.weights, net.bias, net.bias_always
    n_inputs, biases_at = net.widths[layer], net.bias_at[layer]
    low, high, n_rows, n_alive, zero = net.low[layer], net.high[layer], state[N_ROWS], state[N_ALIVE], np.float32(0)
    activations, activations_at = net.activations, net.activations_at[layer]
    full = n_rows if full_columns and n_rows > 0 else -1
    for j in range(first, last):
        n_counted = room[j]
        new_start[j] = at
        if n_counted == 0 and skip_empty:
            new_n_entries[j] = 0
            continue
        bias = biases[biases_at + j]
        at_zero = bias if bias_always else zero
        begin, end = column_entries(conn, is_dense, layer, n_inputs, j)
        if activations_at >= 0:
            accumulate(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values, sums, full)
            activate_sums(n_rows, sums, bias, at_zero, activations, activations_at + PER_NEURON * j)
            after = store_scanned(n_rows, sums, zero, zero, low, high, at, new_ids, new_values)
        elif n_counted * DENSE_SHARE >= n_rows:
            accumulate(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values, sums, full)
            after = store_scanned(n_rows, sums, bias, at_zero, low, high, at, new_ids, new_values)
        elif n_counted == 1:
            row, total = accumulate_row(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values)
            y = activate(total, bias, at_zero, low, high)
            new_ids[np.uint64(at)], new_values[np.uint64(at)] = row, y
            after = at + (y != 0)
        elif n_counted == n_alive:
            accumulate_few(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values, sums)
            after = store_listed(n_alive, sums, alive, bias, at_zero, low, high, at, new_ids, new_values)
        else:
            reached = accumulate_marking(conn_ids, conn_weights, is_dense, begin, end, start, n_entries, ids, values, own)
            after = store_listed(reached, sums, touched, bias, at_zero, low, high, at, new_ids, new_values)
        new_n_entries[j] = after - at
        at += n_counted


@inline
def layer_on_columns(net, conn, is_dense, full_columns, skip_empty, layer, ids, values, new_ids, new_values, work, own, place):
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
        symbolic(net, conn, is_dense, skip_empty, layer, first, last, ids, work, own)
        if not meet(place):
            return STOPPED
    first, last, at, n_ops, total_ops, needed = plan_columns(n_outputs, work.room, work.ops, member, n_members)
    if needed > new_ids.shape[0]:
        if member == 0:
            state[NEEDED] = needed
        return GROW
    numeric(net, conn, is_dense, full_columns, skip_empty, layer, first, last, at, ids, values, new_ids, new_values, work, own)
    mark_alive(first, last, layer + 1, state[N_ROWS], new_ids, work.start[1 - side], work.n_entries[1 - side], work.reached)
    place.shared[FIRST_MEMBER + LINE * member + MULTIPLY_ADDS] += n_ops
    if not meet(place):
        return STOPPED
    if member == 0:
        state[TOTAL_OPS] += total_ops
        state[NEEDED], state[SIDE], state[LAYER] = -1, 1 - side, layer + 1
        state[N_ALIVE] = list_alive(layer + 1, state[N_ROWS], work.reached, work.alive)
        advance(place, state[N_ROWS])
        show(place, layer + 1, total_ops)
    return COMPUTE


@inline
def renumber_together(n_columns, ids, values, start, n_entries, work, place):
    """Bring new row numbers into all columns; False if everything is to stop.

    ids : uint16 or uint32 (capacity,), values : float32 (capacity,), start : int64 (widest,)    the matrix, in CSC
    n_entries : int32 (widest,)
    work : ColumnWork, place : Place
    """
    first, last = share(n_columns, place.member, place.n_members), share(n_columns, place.member + 1, place.n_members)
    renumber(first, last, work.state[N_ROWS], ids, values, start, n_entries, work.renumbered)
    return meet(place)


@kernel
def run_columns(net, conn, is_dense, prune, full_columns, skip_empty, work, own, place):
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
            if not renumber_together(net.widths[layer], ids, values, work.start[side], work.n_entries[side], work, place):
                return np.int64(STOPPED)
        if step != COMPUTE:
            return step
        fresh = False
        if side == 0:
            step = np.int64(
                layer_on_columns(
                    net, conn, is_dense, full_columns, skip_empty, layer,
                    work.ids0, work.values0, work.ids1, work.values1, work, own, place,
                )
            )  # fmt: skip
        else:
            step = np.int64(
                layer_on_columns(
                    net, conn, is_dense, full_columns, skip_empty, layer,
                    work.ids1, work.values1, work.ids0, work.values0, work, own, place,
                )
            )  # fmt: skip
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
