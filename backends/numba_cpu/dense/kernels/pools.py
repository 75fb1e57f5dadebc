"""Drops finished instances from dense blocks, and joins the rests of several blocks in pools.

A block holds its instances as ``block[slot(neuron) * stride + instance]``, the stride being the number of instances rounded up
to whole vectors. At certain layers (the *checkpoints*) a block that is half empty or more waits in a *pool* for the rest of
another, so that blocks stay full; pools hold half a block each, so memory stays bounded whatever dies.

GLARE (S. Jiang et al., HPEC 2023) goes by the same observation as retiring, and flags the saturated parts of an instance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.jit import inline
from backends.numba_cpu.dense.kernels.moves import clear_padding, copy_instances, pack_instances, padded, slot
from backends.numba_cpu.kernels.team import advance

# Entries of BlockWork.state
CURSOR, COUNT, STRIDE, LAYER, TOTAL_OPS, OUTPUT_ROWS, OUTPUT_NNZ, SIDE, GROUP_DONE, WAITED_NS = range(10)
N_STATE = 16

LOOK = 16
"""Neurons between two looks at how many instances of a block have been seen to go on."""


NO_WEIGHTS = np.zeros(0, np.float32)
"""Stands for room for weights of 16 bits where they are float32."""


class BlockWork(NamedTuple):
    """A row group and its dense blocks, which all members of its team work on; the blocks belong to the worker that opened it.

    indptr : int32 or int64 (n_instances + 1,)         the matrix that has the rows, CSR; int64 from 2**31 entries on
    indices : int32 or int64 (nnz,), values : float32 (nnz,)
    rows : int64 (n_rows,)                             the rows of the group
    sums : float64 (n_rows,)                           result: sum of each row of the last activations
    retired : uint8 (n_rows,), or (0,)                 result, if the output is wanted: rows that were saturated
    twin : int64 (n_rows,), or (0,)                    result, if rows are merged: the one that went on for it; or -1
    blocks : float32 (2, block_slots * block_rows)     the current block and the next; they swap at every layer
    ids : int64 (2, block_rows)                        position in the row group of each instance
    pools : float32 (n_checkpoints, block_slots * block_rows // 2)
    pool_ids : int64 (n_checkpoints, block_rows // 2)
    pool_count : int64 (n_checkpoints,)
    checkpoints : int64 (n_checkpoints,)               layers after which rests of blocks are joined, ascending
    alive, below : int32 (block_rows,)                 not zero: the instance has a nonzero activation; one below the maximum
    vectors : int32 (2, block_rows // LANES)           see `moves.pack_instances`
    state : int64 (N_STATE,)                           entries CURSOR, COUNT, STRIDE, ...
    """

    indptr: NDArray[np.signedinteger]
    indices: NDArray[np.signedinteger]
    values: NDArray[np.float32]
    rows: NDArray[np.int64]
    sums: NDArray[np.float64]
    retired: NDArray[np.uint8]
    twin: NDArray[np.int64]
    blocks: NDArray[np.float32]
    ids: NDArray[np.int64]
    pools: NDArray[np.float32]
    pool_ids: NDArray[np.int64]
    pool_count: NDArray[np.int64]
    checkpoints: NDArray[np.int64]
    alive: NDArray[np.int32]
    below: NDArray[np.int32]
    vectors: NDArray[np.int32]
    state: NDArray[np.int64]


class Column(NamedTuple):
    """One worker's scratch: the nonzero weights of one column of a dense layer, or sums of a few instances.

    ids : uint16 or uint32 (widest,), weights : float32 (widest,)
    sums : float32 (TILE * pitch,)             first layer, by rows: each instance's sums, `pitch` apart
    band : float32 (BAND * TILE,)              a few instances and a band of neurons, while inputs are spread out
    table : int32 (2 * block_rows or more,)    instances by their hashes, while equal ones are merged
    far_bytes : int                            two blocks with more bytes than this are written past the caches
    wide : float32 (0,) or (1, floats)         room for the weights of a column or a group, where these are stored in 16 bits
    """

    ids: NDArray[Any]
    weights: NDArray[np.float32]
    sums: NDArray[np.float32]
    band: NDArray[np.float32]
    table: NDArray[np.int32]
    far_bytes: int
    wide: NDArray[np.float32] = NO_WEIGHTS


class FirstLayer(NamedTuple):
    """The connections of the first layer by rows, or nothing.

    indptr : int64 (n_inputs + 1,)
    ids : uint16 or uint32 (nnz,), weights : float32 (nnz,)
    """

    indptr: NDArray[np.int64]
    ids: NDArray[Any]
    weights: NDArray[np.float32]


@inline
def saves(n_kept, count, stride):
    """Whether a block of `count` instances gets an eighth smaller, and by a vector, if only `n_kept` stay."""
    return n_kept == 0 or ((count - n_kept) * 8 >= count and padded(n_kept) != stride)


@inline
def find_kept(bits, n_neurons, stride, count, full_bits, retire, alive, below):
    """Find the instances that have a nonzero activation and, with `retire`, one that is not at the maximum; return how many.

    Looks no further than it takes to see that dropping the others would not pay: then there may be more.

    `bits` is the block seen as int32: the OR of all bits of an instance is zero only if all its activations are, and the OR of
    all differences from the maximum is zero only if all are at it.

    bits : int32 (block_slots * stride,)    a block of float32 seen as int32
    alive, below : int32 (block_rows,)      result, see `BlockWork`
    """
    for i in range(count):
        alive[i], below[i] = 0, 0 if retire else 1
    n_kept = 0
    begin = 0
    while begin < n_neurons and saves(n_kept, count, stride):
        end = min(begin + LOOK, n_neurons)
        for j in range(begin, end):
            base = np.uint64(slot(j) * stride)
            for i in range(count):
                alive[np.uint64(i)] |= bits[np.uint64(base + np.uint64(i))]
        if retire:
            for j in range(begin, end):
                base = np.uint64(slot(j) * stride)
                for i in range(count):
                    below[np.uint64(i)] |= bits[np.uint64(base + np.uint64(i))] ^ full_bits
        n_kept = 0
        for i in range(count):
            n_kept += alive[i] & 0x7FFFFFFF != 0 and below[i] != 0
        begin = end
    return n_kept


@inline
def drop_finished(net, work):
    """Drop instances of the current block that are dead or retire, where that saves an eighth of it; return how many left.

    net : Neurons, work : BlockWork
    """
    state = work.state
    count, stride, side, layer = state[COUNT], state[STRIDE], state[SIDE], state[LAYER]
    n_neurons, retire, alive, below = net.widths[layer], net.full_stays[layer], work.alive, work.below
    full_bits = net.high_bits[layer - 1]
    n_kept = find_kept(work.blocks[side].view(np.int32), n_neurons, stride, count, full_bits, retire, alive, below)
    if not saves(n_kept, count, stride):
        return 0
    picked, ids = 0, work.ids[side]
    for i in range(count):
        if alive[i] & 0x7FFFFFFF == 0:
            continue
        if below[i] == 0:
            work.sums[ids[i]] = net.full_sum[0]
            if work.retired.shape[0] > 0:
                work.retired[ids[i]] = 1
        else:
            alive[picked] = i
            picked += 1
    state[COUNT] = n_kept
    if n_kept > 0:
        new_stride = padded(n_kept)
        x, y = work.blocks[side], work.blocks[1 - side]
        pack_instances(n_neurons, x, stride, ids, alive, n_kept, y, new_stride, work.ids[1 - side], below, work.vectors)
        state[STRIDE], state[SIDE] = new_stride, 1 - side
    return count - n_kept


@inline
def join_pool(net, work, checkpoint):
    """Take what waits in the pool into the current block; the two fit together.

    net : Neurons, work : BlockWork
    """
    state = work.state
    count, waiting, side = state[COUNT], work.pool_count[checkpoint], state[SIDE]
    n_neurons = net.widths[work.checkpoints[checkpoint]]
    new_stride = padded(count + waiting)
    x, y, ids = work.blocks[side], work.blocks[1 - side], work.ids[1 - side]
    copy_instances(n_neurons, x, state[STRIDE], work.ids[side], count, y, new_stride, ids, 0)
    pool, pool_ids = work.pools[checkpoint], work.pool_ids[checkpoint]
    copy_instances(n_neurons, pool, padded(waiting), pool_ids, waiting, y, new_stride, ids, count)
    clear_padding(n_neurons, y, new_stride, count + waiting, new_stride)
    work.pool_count[checkpoint] = 0
    state[COUNT], state[STRIDE], state[SIDE] = count + waiting, new_stride, 1 - side
    state[LAYER] = work.checkpoints[checkpoint]


@inline
def wait_in_pool(net, work, checkpoint):
    """Put the current block, half full at the most, into an empty pool.

    net : Neurons, work : BlockWork
    """
    state = work.state
    count, side = state[COUNT], state[SIDE]
    n_neurons = net.widths[work.checkpoints[checkpoint]]
    pool, pool_ids = work.pools[checkpoint], work.pool_ids[checkpoint]
    copy_instances(n_neurons, work.blocks[side], state[STRIDE], work.ids[side], count, pool, padded(count), pool_ids, 0)
    work.pool_count[checkpoint] = count
    state[COUNT] = 0


@inline
def first_pool(work):
    """Number of the earliest checkpoint where instances wait; -1 if there is none.

    work : BlockWork
    """
    for checkpoint in range(work.checkpoints.shape[0]):
        if work.pool_count[checkpoint] > 0:
            return checkpoint
    return -1


@inline
def count_done(work, place, amount):
    """Count rows x layers that are done, in all and of this row group.

    work : BlockWork, place : Place
    """
    advance(place, amount)
    work.state[GROUP_DONE] += amount


@inline
def find_checkpoint(work):
    """Number of the checkpoint that the current layer is; -1 if it is none.

    work : BlockWork
    """
    layer, checkpoints, checkpoint = work.state[LAYER], work.checkpoints, 0
    while checkpoint < checkpoints.shape[0] and checkpoints[checkpoint] < layer:
        checkpoint += 1
    if checkpoint == checkpoints.shape[0] or checkpoints[checkpoint] != layer:
        return -1
    return checkpoint


@inline
def at_checkpoint(net, work, block_rows, checkpoint):
    """Join rests of blocks; wait here if more can still come.

    net : Neurons, work : BlockWork
    """
    state = work.state
    if state[COUNT] * 2 <= block_rows and work.pool_count[checkpoint] > 0:
        join_pool(net, work, checkpoint)
    earlier = first_pool(work)
    more_to_come = state[CURSOR] < work.rows.shape[0] or (earlier >= 0 and earlier < checkpoint)
    if state[COUNT] * 2 <= block_rows and more_to_come:
        wait_in_pool(net, work, checkpoint)
