"""Brings instances into a dense block: spread out, through the first layer entry by entry, or from a pool."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.common.kernels.activation import PER_NEURON, activate, activate_row
from backends.numba_cpu.dense.kernels.moves import clear_padding, padded, slot
from backends.numba_cpu.dense.kernels.pools import COUNT, CURSOR, LAYER, SIDE, STRIDE, count_done, first_pool, join_pool

NEW, WAITED, NOTHING = range(3)

TILE = 16
"""Instances that are brought in together: a cache line of the block."""

BAND = 256
"""Neurons that are filled at a time for so many instances: 16 KiB, which first-level caches hold."""


@inline
def pick_rows(work, block_rows, skip_empty):
    """Choose the next instances of the input for the current block; return how many were passed (with skipped ones).

    work : BlockWork
    """
    state, ids, group, indptr = work.state, work.ids[0], work.rows, work.indptr
    begin = state[CURSOR]
    cursor, count = begin, 0
    while cursor < group.shape[0] and count < block_rows:
        row = group[cursor]
        if not skip_empty or indptr[row] < indptr[row + 1]:
            ids[count] = cursor
            count += 1
        cursor += 1
    state[CURSOR], state[COUNT], state[STRIDE], state[LAYER], state[SIDE] = cursor, count, padded(count), 0, 0
    return cursor - begin


@inline
def fill_block(net, work, band, first, last):
    """Bring lanes ``first .. last`` of the current block in from the input.

    A few instances and a band of neurons at a time are spread out in memory of their own, which stays in the first-level cache,
    and stored together, so that each line of the block is written once. The entries of an instance are in ascending order.

    net : Neurons, work : BlockWork
    band : float32 (BAND * TILE,)    scratch, see `Column`
    """
    state, ids, at, block = work.state, work.ids[0], work.ids[1], work.blocks[0]
    group, indptr, indices, values = work.rows, work.indptr, work.indices, work.values
    stride, n_neurons, count = state[STRIDE], net.widths[0], state[COUNT]
    for begin_lane in range(first, last, TILE):
        n_lanes = min(TILE, last - begin_lane)
        present = min(begin_lane + n_lanes, count)
        for i in range(begin_lane, present):
            at[i] = indptr[group[ids[i]]]
        for begin in range(0, n_neurons, BAND):
            end = min(begin + BAND, n_neurons)
            for k in range((end - begin) * TILE):
                band[np.uint64(k)] = 0
            for i in range(begin_lane, present):
                k, stop, lane = at[i], indptr[group[ids[i]] + 1], i - begin_lane
                while k < stop and indices[np.uint64(k)] < end:
                    band[np.uint64((np.int64(indices[np.uint64(k)]) - begin) * TILE + lane)] = values[np.uint64(k)]
                    k += 1
                at[i] = k
            for j in range(begin, end):
                source, target = (j - begin) * TILE, slot(j) * stride + begin_lane
                if n_lanes == TILE:  # by a number that the compiler knows: a load and a store
                    for lane in range(TILE):
                        block[np.uint64(target + lane)] = band[np.uint64(source + lane)]
                else:
                    for lane in range(n_lanes):
                        block[np.uint64(target + lane)] = band[np.uint64(source + lane)]


@inline
def load_block(net, work, band, block_rows, skip_empty):
    """Fill the current block with the next instances of the input; return how many were passed (with skipped ones).

    net : Neurons, work : BlockWork
    band : float32 (BAND * TILE,)    scratch, see `Column`
    """
    passed = pick_rows(work, block_rows, skip_empty)
    fill_block(net, work, band, np.int64(0), work.state[STRIDE])
    return passed


@inline
def add_row(entries, first_layer, indices, values, begin, end, sums, offset):
    """Add one instance's sums of the first layer to ``sums[offset ..]``; return the multiply-adds.

    An output's terms come in the order of the instance's entries, which is ascending: the order of all kernels.

    entries : int64 (n_inputs + 1,), first_layer : FirstLayer                  its indptr, and all of it
    indices : int32 or int64 (nnz,), values : float32 (nnz,)                   the instance, from `begin` to `end`
    sums : float32 (TILE * pitch,)                                             result, added to
    """
    starts, outputs, weights, n_ops = entries, first_layer.ids, first_layer.weights, 0
    for p in range(begin, end):
        value, i = values[np.uint64(p)], np.uint64(indices[np.uint64(p)])
        from_entry, to_entry = starts[i], starts[i + np.uint64(1)]
        n_ops += to_entry - from_entry
        for k in range(from_entry, to_entry):
            sums[np.uint64(offset + np.int64(outputs[np.uint64(k)]))] += value * weights[np.uint64(k)]
    return n_ops


@inline
def fill_through_first_layer(net, work, first_layer, sums, first, last):
    """Bring lanes ``first .. last`` of the current block in as they are after the first layer; return the multiply-adds.

    Instances with few entries take less to push through their connections than to be spread out densely. They are added up a
    few at a time in rows of their own, and stored together, so that each line of the block is written once.

    net : Neurons, work : BlockWork, first_layer : FirstLayer
    sums : float32 (TILE * pitch,)    scratch, see `Column`
    """
    state, ids, block, entries = work.state, work.ids[0], work.blocks[0], first_layer.indptr
    group, indptr, indices, values = work.rows, work.indptr, work.indices, work.values
    biases, biases_at, low, high, n_outputs = net.bias, net.bias_at[0], net.low[0], net.high[0], net.widths[1]
    bias_always, activations, activations_at = net.bias_always, net.activations, net.activations_at[0]
    stride, count, n_ops, pitch = state[STRIDE], state[COUNT], 0, sums.shape[0] // TILE
    for begin in range(first, last, TILE):
        n_lanes = min(TILE, last - begin)
        for k in range(pitch * n_lanes):
            sums[np.uint64(k)] = 0
        for lane in range(min(n_lanes, count - begin)):
            row = group[ids[begin + lane]]
            n_ops += add_row(entries, first_layer, indices, values, indptr[row], indptr[row + 1], sums, pitch * lane)
        for j in range(n_outputs):
            bias, base = biases[biases_at + j], slot(j) * stride + begin
            at_zero = bias if bias_always else np.float32(0)
            for lane in range(n_lanes):
                block[np.uint64(base + lane)] = activate(sums[np.uint64(pitch * lane + j)], bias, at_zero, low, high)
            if activations_at >= 0:
                activate_row(block, base, base + n_lanes, activations, activations_at + PER_NEURON * j)
    clear_padding(n_outputs, block, stride, max(count, first), last)
    return n_ops


@inline
def next_block(net, work, block_rows, prune, place, n_layers):
    """Choose new instances for the current block, or else take those that wait longest in a pool into it.

    Returns NEW (the instances are still to be brought in), WAITED or NOTHING.

    net : Neurons, work : BlockWork, place : Place
    """
    state = work.state
    while state[CURSOR] < work.rows.shape[0]:
        passed = pick_rows(work, block_rows, prune and net.zeros_stay[0])
        count_done(work, place, (passed - state[COUNT]) * n_layers)
        if state[COUNT] > 0:
            return NEW
    waiting = first_pool(work)
    if waiting < 0:
        return NOTHING
    state[STRIDE] = 0
    join_pool(net, work, waiting)
    return WAITED
