"""Takes dense blocks of instances (UDC, uncompressed dense columns) depth first through the layers.

A block holds some tens to hundreds of instances as ``block[slot(neuron), instance]``, so that a connection is one
multiply-add of
a scalar weight and a vector of instances. With pruning, instances that have died are dropped on the way, and what is
left of a block at certain layers (the *checkpoints*) waits there in a *pool* for the rest of other blocks, so that
blocks stay full.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.jit import atomic_load, atomic_store, clock_ns, inline, kernel, pause, yield_core
from backends.numba_cpu.dense.kernels.filling import NEW, NOTHING, TILE, fill_block, fill_through_first_layer, next_block
from backends.numba_cpu.dense.kernels.layers import layer_on_block
from backends.numba_cpu.dense.kernels.merging import merge_instances
from backends.numba_cpu.dense.kernels.moves import slot
from backends.numba_cpu.dense.kernels.pools import (
    COUNT,
    GROUP_DONE,
    LAYER,
    OUTPUT_NNZ,
    OUTPUT_ROWS,
    SIDE,
    STRIDE,
    TOTAL_OPS,
    WAITED_NS,
    at_checkpoint,
    count_done,
    drop_finished,
    find_checkpoint,
)
from backends.numba_cpu.kernels.team import COMPUTE, GROW, STOPPED, THROUGH, decide, meet, must_leave, share, show
from backends.numba_cpu.layout.kernels.connections import first_column
from backends.numba_cpu.layout.kernels.streaming import AT_LAYER, NOT_READY, READY
from sparsednn.backend.shared_memory import FIRST_MEMBER, LAYER_OPS, LINE, MULTIPLY_ADDS, STOP_FLAG

SPINS = 64
"""Looks at whether a layer has been read, before another thread may run."""

LOAD = 16
"""Decision of the leader to bring new instances into a block; the others are those of `team`."""


class Output(NamedTuple):
    """The last activations of a row group, instance by instance in the order they were finished.

    ids : int64 (n_rows,)        position in the row group
    indptr : int64 (n_rows + 1,)
    indices : int32, values : float32 (capacity,)
    """

    ids: NDArray[np.int64]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]


class LayerStream(NamedTuple):
    """State of layers that are read from files, for which kernels wait; both empty where layers are in memory (see `reader`).

    ready : int64 (n_layers,)       READY, NOT_READY or DAMAGED
    at : int64 (LINE,)              at[AT_LAYER]: the layer that the worker has come to
    """

    ready: NDArray[np.int64]
    at: NDArray[np.int64]


@inline
def store_output(block, stride, count, ids, last, state, output):
    """Append the activations of a block's instances to the output; False if there is too little room.

    block : float32 (block_slots * stride,)    the last activations
    ids : int64 (block_rows,)                  position in the row group of each instance
    last : int32 (n_outputs,)                  neuron of the block that is each output
    state : int64 (N_STATE,), output : Output  result
    """
    indices, values = output.indices, output.values
    nnz = 0
    for j in last:
        for i in range(count):
            nnz += block[slot(np.int64(j)) * stride + i] != 0
    if state[OUTPUT_NNZ] + nnz > indices.shape[0]:
        return False
    state[OUTPUT_NNZ] += nnz
    for i in range(count):
        at = output.indptr[state[OUTPUT_ROWS]]
        for j in range(last.shape[0]):
            value = block[slot(np.int64(last[j])) * stride + i]
            if value != 0:
                indices[at], values[at] = j, value
                at += 1
        output.ids[state[OUTPUT_ROWS]] = ids[i]
        state[OUTPUT_ROWS] += 1
        output.indptr[state[OUTPUT_ROWS]] = at
    return True


@inline
def finish_block(net, work, output):
    """Add up the current block's instances and store their activations, if asked for; False if the output is full.

    net : Neurons, work : BlockWork, output : Output
    """
    state, sums, last = work.state, work.sums, net.last
    count, stride = state[COUNT], state[STRIDE]
    block, ids = work.blocks[state[SIDE]], work.ids[state[SIDE]]
    if output.ids.shape[0] > 0 and not store_output(block, stride, count, ids, last, state, output):
        return False
    for j in last:
        base = slot(np.int64(j)) * stride
        for i in range(count):
            sums[ids[i]] += np.float64(block[np.uint64(base + i)])
    state[COUNT] = 0
    return True


@inline
def wait_for_layer(stream, work, place):
    """Wait until the current layer has been read; COMPUTE, or STOPPED if everything is to stop or the layer is damaged.

    stream : LayerStream, work : BlockWork, place : Place
    """
    layer, ready, looks = work.state[LAYER], stream.ready, 0
    atomic_store(stream.at, AT_LAYER, layer)
    if atomic_load(ready, layer) == READY:
        return COMPUTE
    came_at = clock_ns()
    while atomic_load(ready, layer) == NOT_READY:
        if atomic_load(place.flags, STOP_FLAG) != 0:
            return STOPPED
        looks += 1
        if looks < SPINS:
            pause()
        else:
            yield_core()
    work.state[WAITED_NS] += clock_ns() - came_at
    return COMPUTE if atomic_load(ready, layer) == READY else STOPPED


@inline
def next_step(net, work, output, stream, place, prune, fresh):
    """The leader brings a block to the layer it needs next, and says whether to compute it, or to bring instances in.

    net : Neurons, work : BlockWork, output : Output, stream : LayerStream, place : Place
    """
    state, n_layers, block_rows = work.state, net.low.shape[0], work.ids.shape[1]
    step = COMPUTE
    while state[COUNT] == 0 or state[LAYER] == n_layers:
        if state[COUNT] > 0 and not finish_block(net, work, output):
            return GROW
        found = next_block(net, work, block_rows, prune, place, n_layers)
        if found == NOTHING:
            return THROUGH
        step = LOAD if found == NEW else COMPUTE
    if step == LOAD:
        return LOAD
    step = must_leave(place, state[GROUP_DONE] // max(work.rows.shape[0], 1), fresh)
    return wait_for_layer(stream, work, place) if step == COMPUTE and stream.ready.shape[0] > 0 else step


@inline
def load_together(net, work, first_layer, by_rows, column, place):
    """Bring this member's lanes of a new block in; return the multiply-adds.

    net : Neurons, work : BlockWork, first_layer : FirstLayer, column : Column, place : Place
    """
    n_tiles, stride = (work.state[STRIDE] + TILE - 1) // TILE, work.state[STRIDE]
    first = min(share(n_tiles, place.member, place.n_members) * TILE, stride)
    last = min(share(n_tiles, place.member + 1, place.n_members) * TILE, stride)
    if by_rows:
        return fill_through_first_layer(net, work, first_layer, column.sums, first, last)
    fill_block(net, work, column.band, first, last)
    return np.int64(0)


@inline
def compute_together(net, conn, is_dense, work, column, place):
    """Run this member's columns of the current layer on the current block; return the multiply-adds.

    net : Neurons, conn : Connections, work : BlockWork, column : Column, place : Place
    """
    state, member, n_members = work.state, place.member, place.n_members
    layer, side = state[LAYER], state[SIDE]
    n_outputs = net.widths[layer + 1]
    if is_dense:
        first, last = share(n_outputs, member, n_members), share(n_outputs, member + 1, n_members)
    else:
        first = first_column(conn, layer, n_outputs, member, n_members)
        last = first_column(conn, layer, n_outputs, member + 1, n_members)
    x, y = work.blocks[side], work.blocks[1 - side]
    return state[COUNT] * layer_on_block(net, conn, layer, x, y, state[STRIDE], first, last, column, column.wide, is_dense)


@inline
def finish_step(net, work, place, prune, table):
    """The leader's part after a layer of a block: count, drop instances that are finished or the same, join rests of blocks.

    net : Neurons, work : BlockWork, place : Place
    table : int32 (2 * block_rows or more,)    scratch, see `merge_instances`
    """
    state, shared, n_ops = work.state, place.shared, 0
    layer, n_layers = state[LAYER] + 1, net.low.shape[0]
    for member in range(place.n_members):
        n_ops += shared[FIRST_MEMBER + LINE * member + LAYER_OPS]
    state[TOTAL_OPS] += n_ops
    state[LAYER] = layer
    count_done(work, place, state[COUNT])
    show(place, state[GROUP_DONE] // max(work.rows.shape[0], 1), n_ops)
    if prune and net.zeros_stay[layer] and layer < n_layers:
        count_done(work, place, drop_finished(net, work) * (n_layers - layer))
        checkpoint = find_checkpoint(work)
        if state[COUNT] > 0 and checkpoint >= 0:
            if work.twin.shape[0] > 0:
                count_done(work, place, merge_instances(net, work, table) * (n_layers - layer))
            at_checkpoint(net, work, work.ids.shape[1], checkpoint)


@inline
def swap(work):
    """Make the block that was written the current one.

    work : BlockWork
    """
    state = work.state
    side = state[SIDE]
    for i in range(state[COUNT]):
        work.ids[1 - side, i] = work.ids[side, i]
    state[SIDE] = 1 - side


@kernel
def run_blocks(net, conn, first_layer, is_dense, prune, by_rows, work, column, output, stream, place):
    """Take a row group through all layers, block by block, alone or with others.

    With `by_rows`, new instances go through the first layer entry by entry, before there is a dense block of them. Returns
    THROUGH, STOPPED (the stop flag was set), CALLED (the leader was called) or GROW (more room is needed for the last
    activations); in the last two cases the same call, by a team of any size, goes on from there.

    net : Neurons, conn : Connections, first_layer : FirstLayer, work : BlockWork, column : Column
    output : Output, stream : LayerStream, place : Place
    """
    fresh, step = True, np.int64(COMPUTE)
    member, shared = place.member, place.shared
    while True:
        if member == 0:
            step = np.int64(next_step(net, work, output, stream, place, prune, fresh))
        step = decide(place, step)
        if step != COMPUTE and step != LOAD:
            return step
        fresh = False
        if step == LOAD:
            n_ops = load_together(net, work, first_layer, by_rows, column, place)
        else:
            n_ops = compute_together(net, conn, is_dense, work, column, place)
        shared[FIRST_MEMBER + LINE * member + LAYER_OPS] = n_ops
        shared[FIRST_MEMBER + LINE * member + MULTIPLY_ADDS] += n_ops
        if not meet(place):
            return np.int64(STOPPED)
        if member == 0:
            if step == COMPUTE:
                swap(work)
            if step == COMPUTE or by_rows:
                finish_step(net, work, place, prune, column.table)
