"""Takes row groups in DCSC through the layers, each as a whole; layers are in CSC.

The two steps are those of `layers`, but both look only at connections whose inputs are stored, and the second only at columns
that the first has found to reach a row. The row indices of a column are in no particular order, as there.
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
    activate_sums,
    store_listed,
    store_scanned,
)
from backends.numba_cpu.csc.kernels.hypersparse import (
    STORED,
    WORD_BITS,
    accumulate_hits,
    accumulate_hits_marking,
    accumulate_hits_of_row,
    find_hits,
    symbolic_hits,
)
from backends.numba_cpu.csc.kernels.steps import DENSE_SHARE, DROP, next_step, plan_columns
from backends.numba_cpu.kernels.team import COMPUTE, GROW, STOPPED, advance, decide, meet, share, show
from backends.numba_cpu.layout.kernels.connections import first_column, stored_column
from sparsednn.backend.shared_memory import FIRST_MEMBER, LINE, MULTIPLY_ADDS


@inline
def compress(n_columns, n_slots, columns, start, n_entries, occupied, before):
    """Close the gaps that columns without an entry have left, and note which columns are stored; return how many.

    columns : uint16 or uint32 (widest,), start : int64 (widest,), n_entries : int32 (widest,)    `n_slots` of them; result
    occupied : uint64 (n_words,), before : int32 (n_words,)                                       result
    """
    for word in range((n_columns + WORD_BITS - 1) // WORD_BITS):
        occupied[word] = 0
    stored = 0
    for slot in range(n_slots):
        if n_entries[slot] == 0:
            continue
        j = np.uint64(columns[slot])
        word = j >> np.uint64(6)
        if occupied[word] == 0:
            before[word] = stored  # of words without a column nobody asks
        occupied[word] |= np.uint64(1) << (j & np.uint64(63))
        columns[stored], start[stored], n_entries[stored] = columns[slot], start[slot], n_entries[slot]
        stored += 1
    return stored


@kernel
def compress_inputs(n_inputs, work):
    """Bring inputs into DCSC that stand in the first matrix as in CSC, each column at its own number.

    work : DoublyCompressedWork
    """
    columns = work.columns[0]
    for j in range(n_inputs):
        columns[j] = j
    work.state[STORED] = compress(
        n_inputs, n_inputs, columns, work.start[0], work.n_entries[0], work.occupied[0], work.before[0]
    )


@inline
def symbolic(net, conn, layer, first, last, ids, work, own):
    """Count what output columns ``first .. last`` reach and take; and how many multiply-adds they take.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,)                          rows of the matrix before the layer
    work : DoublyCompressedWork, own : HypersparseAccumulator    result: work.room and work.ops
    """
    # Arrays are taken out of their tuples before the loop: see `layers`.
    state, side, room, ops, hits, slots = work.state, work.state[SIDE], work.room, work.ops, own.hits, own.slots
    start, n_entries, occupied, before = work.start[side], work.n_entries[side], work.occupied[side], work.before[side]
    conn_ids, biases, bias_always, biases_at = conn.ids, net.bias, net.bias_always, net.bias_at[layer]
    low, high, zero, n_alive = net.low[layer], net.high[layer], np.float32(0), state[N_ALIVE]
    activations, activations_at = net.activations, net.activations_at[layer]
    degree, ids_at, indptr, indptr_at = conn.degree[layer], conn.ids_at[layer], conn.indptr, conn.indptr_at[layer]
    column, column_at = conn.column, conn.column_at[layer]
    for j in range(first, last):
        begin, count = stored_column(degree, ids_at, indptr, indptr_at, column, column_at, j)
        n_hits = find_hits(conn_ids, begin, begin + count, occupied, before, hits, slots)
        reached, n_ops = symbolic_hits(n_hits, slots, start, n_entries, ids, n_alive, own)
        at_zero = biases[biases_at + j] if bias_always else zero
        if activated_zero(at_zero, low, high, activations, activations_at, j) != 0:
            reached = state[N_ROWS]  # every row is written, whether it is reached or not
        room[j], ops[j] = reached, n_ops


@inline
def numeric(net, conn, layer, first, last, at, ids, values, new_ids, new_values, work, own):
    """Compute output columns ``first .. last`` that reach a row, each in a slot of its own; as wide as they were counted.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)            the matrix before the layer
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result: the one after it, from `at` on
    work : DoublyCompressedWork, own : HypersparseAccumulator                    result: columns of it, without their index
    """
    state, side, sums, touched, alive = work.state, work.state[SIDE], own.sums, own.touched, work.alive
    hits, slots, room = own.hits, own.slots, work.room
    start, n_entries, occupied, before = work.start[side], work.n_entries[side], work.occupied[side], work.before[side]
    new_columns, new_start, new_n_entries = work.columns[1 - side], work.start[1 - side], work.n_entries[1 - side]
    conn_ids, conn_weights = conn.ids, conn.weights
    biases, bias_always, biases_at = net.bias, net.bias_always, net.bias_at[layer]
    low, high, n_rows, n_alive, zero = net.low[layer], net.high[layer], state[N_ROWS], state[N_ALIVE], np.float32(0)
    activations, activations_at = net.activations, net.activations_at[layer]
    degree, ids_at, indptr, indptr_at = conn.degree[layer], conn.ids_at[layer], conn.indptr, conn.indptr_at[layer]
    column, column_at = conn.column, conn.column_at[layer]
    slot = np.int64(0)
    for j in range(first):
        slot += room[j] > 0
    for j in range(first, last):
        n_counted = room[j]
        if n_counted == 0:
            continue
        bias = biases[biases_at + j]
        at_zero = bias if bias_always else zero
        begin, count = stored_column(degree, ids_at, indptr, indptr_at, column, column_at, j)
        n_hits = find_hits(conn_ids, begin, begin + count, occupied, before, hits, slots)
        if activations_at >= 0:
            accumulate_hits(conn_weights, begin, n_hits, hits, slots, start, n_entries, ids, values, sums)
            activate_sums(n_rows, sums, bias, at_zero, activations, activations_at + PER_NEURON * j)
            after = store_scanned(n_rows, sums, zero, zero, low, high, at, new_ids, new_values)
        elif n_counted * DENSE_SHARE >= n_rows:
            accumulate_hits(conn_weights, begin, n_hits, hits, slots, start, n_entries, ids, values, sums)
            after = store_scanned(n_rows, sums, bias, at_zero, low, high, at, new_ids, new_values)
        elif n_counted == 1:
            row, total = accumulate_hits_of_row(conn_weights, begin, n_hits, hits, slots, start, ids, values)
            y = activate(total, bias, at_zero, low, high)
            new_ids[np.uint64(at)], new_values[np.uint64(at)] = row, y
            after = at + (y != 0)
        elif n_counted == n_alive:
            accumulate_hits(conn_weights, begin, n_hits, hits, slots, start, n_entries, ids, values, sums)
            after = store_listed(n_alive, sums, alive, bias, at_zero, low, high, at, new_ids, new_values)
        else:
            reached = accumulate_hits_marking(conn_weights, begin, n_hits, start, n_entries, ids, values, own)
            after = store_listed(reached, sums, touched, bias, at_zero, low, high, at, new_ids, new_values)
        new_columns[slot], new_start[slot], new_n_entries[slot] = j, at, after - at
        slot += 1
        at += n_counted


@inline
def mark_alive_in_slots(first, last, layer, n_rows, room, ids, work):
    """Note which rows have an entry in output columns ``first .. last``, before gaps are closed.

    room : int64 (widest,), ids : uint16 or uint32 (capacity,)    of the matrix after the layer
    work : DoublyCompressedWork
    """
    begin, n_slots, after = np.int64(0), np.int64(0), 1 - work.state[SIDE]
    for j in range(first):
        begin += room[j] > 0
    for j in range(first, last):
        n_slots += room[j] > 0
    mark_alive(begin, begin + n_slots, layer, n_rows, ids, work.start[after], work.n_entries[after], work.reached)


@inline
def finish_layer(net, layer, total_ops, work, place):
    """Do what only the leader does after a layer: the index of the new matrix, the rows that are alive, the counts.

    net : Neurons, work : DoublyCompressedWork, place : Place
    """
    state, room, n_outputs, n_slots = work.state, work.room, net.widths[layer + 1], np.int64(0)
    after = 1 - state[SIDE]
    for j in range(n_outputs):
        n_slots += room[j] > 0
    state[STORED + after] = compress(
        n_outputs,
        n_slots,
        work.columns[after],
        work.start[after],
        work.n_entries[after],
        work.occupied[after],
        work.before[after],
    )
    state[TOTAL_OPS] += total_ops
    state[NEEDED], state[SIDE], state[LAYER] = -1, after, layer + 1
    state[N_ALIVE] = list_alive(layer + 1, state[N_ROWS], work.reached, work.alive)
    advance(place, state[N_ROWS])
    show(place, layer + 1, total_ops)


@inline
def layer_on_columns(net, conn, layer, ids, values, new_ids, new_values, work, own, place):
    """Run one layer from one matrix into the other; COMPUTE when done, GROW if the other has too little room, or STOPPED.

    net : Neurons, conn : Connections
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)            the matrix before the layer
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result: the one after it
    work : DoublyCompressedWork, own : HypersparseAccumulator, place : Place
    """
    state, member, n_members, n_outputs = work.state, place.member, place.n_members, net.widths[layer + 1]
    if state[NEEDED] < 0:  # else it was counted before there was too little room
        first = first_column(conn, layer, n_outputs, member, n_members)
        last = first_column(conn, layer, n_outputs, member + 1, n_members)
        symbolic(net, conn, layer, first, last, ids, work, own)
        if not meet(place):
            return STOPPED
    first, last, at, n_ops, total_ops, needed = plan_columns(n_outputs, work.room, work.ops, member, n_members)
    if needed > new_ids.shape[0]:
        if member == 0:
            state[NEEDED] = needed
        return GROW
    numeric(net, conn, layer, first, last, at, ids, values, new_ids, new_values, work, own)
    mark_alive_in_slots(first, last, layer + 1, state[N_ROWS], work.room, new_ids, work)
    place.shared[FIRST_MEMBER + LINE * member + MULTIPLY_ADDS] += n_ops
    if not meet(place):
        return STOPPED
    if member == 0:
        finish_layer(net, layer, total_ops, work, place)
    return COMPUTE


@kernel
def run_stored_columns(net, conn, prune, work, own, place):
    """Take a row group through all layers, alone or with others; what it returns is what `layers.run_columns` returns.

    net : Neurons, conn : Connections, work : DoublyCompressedWork, own : HypersparseAccumulator, place : Place
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
            n_stored, n_members = state[STORED + side], place.n_members
            first, last = share(n_stored, place.member, n_members), share(n_stored, place.member + 1, n_members)
            renumber(first, last, state[N_ROWS], ids, values, work.start[side], work.n_entries[side], work.renumbered)
            if not meet(place):
                return np.int64(STOPPED)
        if step != COMPUTE:
            return step
        fresh = False
        if side == 0:
            step = np.int64(
                layer_on_columns(net, conn, layer, work.ids0, work.values0, work.ids1, work.values1, work, own, place)
            )
        else:
            step = np.int64(
                layer_on_columns(net, conn, layer, work.ids1, work.values1, work.ids0, work.values0, work, own, place)
            )
        if step != COMPUTE:
            return step
