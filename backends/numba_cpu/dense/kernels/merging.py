"""Merges instances of a block that have the same bits: one goes on for all of them.

The exact relative of SNICIT (S. Jiang et al., ICPP 2023), which clusters the instances of a middle layer.
"""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.numba_cpu.dense.kernels.moves import pack_instances, padded, slot
from backends.numba_cpu.dense.kernels.pools import COUNT, LAYER, SIDE, STRIDE, saves

FACTOR = np.int32(-1640531527)
"""2**32 divided by the golden ratio, as int32 (Knuth, The Art of Computer Programming 3, 6.4)."""


SAMPLE = 16
"""Every so many neurons are hashed first: instances that differ there need no second look."""


@inline
def hash_instances(bits, n_neurons, step, stride, count, digests):
    """Hash the bits that each instance has in every `step`-th neuron.

    bits : int32 (block_slots * stride,)    a block of float32 seen as int32
    digests : int32 (count,)                result
    """
    for i in range(count):
        digests[i] = 0
    for j in range(0, n_neurons, step):
        base = np.uint64(slot(j) * stride)
        for i in range(count):
            at = np.uint64(i)
            digests[at] = np.int32((digests[at] ^ bits[np.uint64(base + at)]) * FACTOR) ^ (digests[at] >> 15)


@inline
def count_digests(digests, count, table):
    """Count the different hashes, of which there are at most as many as different instances.

    digests : int32 (count,), table : int32 (a power of two of at least twice the block,)    the table is scratch
    """
    n_different, mask = 0, table.shape[0] - 1
    for k in range(table.shape[0]):
        table[k] = -1
    for i in range(count):
        at = np.int64(digests[i]) & mask
        while table[at] >= 0 and digests[table[at]] != digests[i]:
            at = (at + 1) & mask
        if table[at] < 0:
            table[at] = i
            n_different += 1
    return n_different


@inline
def same_instances(bits, n_neurons, stride, a, b):
    """Whether two instances have the same bits.

    bits : int32 (block_slots * stride,)    a block of float32 seen as int32
    """
    for j in range(n_neurons):
        if bits[slot(j) * stride + a] != bits[slot(j) * stride + b]:
            return False
    return True


@inline
def merge_instances(net, work, table):
    """Let one instance of the current block go on for all that have its bits, where that saves an eighth; return how many left.

    table : int32 (a power of two of at least twice the block,)

    net : Neurons, work : BlockWork
    """
    state = work.state
    count, stride, side = state[COUNT], state[STRIDE], state[SIDE]
    n_neurons, digests, picked, ids = net.widths[state[LAYER]], work.below, work.alive, work.ids[side]
    bits, mask = work.blocks[side].view(np.int32), table.shape[0] - 1
    for step in (SAMPLE, 1):
        hash_instances(bits, n_neurons, step, stride, count, digests)
        if not saves(count_digests(digests, count, table), count, stride):
            return 0
    for k in range(table.shape[0]):
        table[k] = -1
    n_kept = 0
    for i in range(count):
        at = np.int64(digests[i]) & mask
        while table[at] >= 0 and not (
            digests[table[at]] == digests[i] and same_instances(bits, n_neurons, stride, np.int64(table[at]), i)
        ):
            at = (at + 1) & mask
        if table[at] < 0:
            table[at] = i
            picked[n_kept] = i
            n_kept += 1
    if not saves(n_kept, count, stride):
        return 0
    for i in range(count):
        at = np.int64(digests[i]) & mask
        while not (digests[table[at]] == digests[i] and same_instances(bits, n_neurons, stride, np.int64(table[at]), i)):
            at = (at + 1) & mask
        if table[at] != i:
            work.twin[ids[i]] = ids[table[at]]
    new_stride = padded(n_kept)
    x, y = work.blocks[side], work.blocks[1 - side]
    pack_instances(n_neurons, x, stride, ids, picked, n_kept, y, new_stride, work.ids[1 - side], digests, work.vectors)
    state[COUNT], state[STRIDE], state[SIDE] = n_kept, new_stride, 1 - side
    return count - n_kept
