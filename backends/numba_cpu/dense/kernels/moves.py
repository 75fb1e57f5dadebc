"""Places neurons in dense blocks, and moves instances from one block to another."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.numba_cpu.dense.kernels.simd import LANES, SKEW_SHIFT, pick8


@inline
def slot(neuron):
    """Row of a block that holds a neuron."""
    return neuron + (neuron >> SKEW_SHIFT)


def n_slots(n_neurons: int) -> int:
    """Return how many rows a block has for so many neurons."""
    return n_neurons + (max(n_neurons - 1, 0) >> SKEW_SHIFT)


@inline
def padded(count):
    """`count` rounded up to whole vectors."""
    return (count + LANES - 1) & ~(LANES - 1)


@inline
def copy_instances(n_neurons, x, x_stride, x_ids, count, y, y_stride, y_ids, offset):
    """Copy the first instances of block x to block y, from instance `offset` on.

    x : float32 (block_slots * x_stride,), x_ids : int64 (count,)
    y : float32 (block_slots * y_stride,), y_ids : int64 (offset + count,)    result
    """
    for q in range(count):
        y_ids[offset + q] = x_ids[q]
    for j in range(n_neurons):
        source, target = np.uint64(slot(j) * x_stride), np.uint64(slot(j) * y_stride + offset)
        for q in range(count):
            y[target + np.uint64(q)] = x[source + np.uint64(q)]


@inline
def pack_instances(n_neurons, x, x_stride, x_ids, picked, n_picked, y, y_stride, y_ids, lanes, vectors):
    """Copy the `picked` instances of block x, in ascending order, to the start of block y, whose padding is zeroed.

    A vector of each row at a time, its picked lanes brought to the front; so what follows them in block y is overwritten too,
    which is why its stride must be less than that of x.

    lanes : int32 (x_stride,)               scratch: of each vector, the lanes that are picked, then any others
    vectors : int32 (2, x_stride // LANES)  scratch: the vectors that have a picked lane, and where their instances go

    x : float32 (block_slots * x_stride,), x_ids : int64 (x_stride,)
    picked : int32 (n_picked,)              positions in block x, ascending
    y : float32 (block_slots * y_stride,), y_ids : int64 (n_picked,)    result
    """
    n_vectors = 0
    for q in range(n_picked):
        i, y_ids[q] = picked[q], x_ids[picked[q]]
        vector = i // LANES
        if n_vectors == 0 or vectors[0, n_vectors - 1] != vector:
            vectors[0, n_vectors], vectors[1, n_vectors] = vector, q
            n_vectors += 1
        lanes[vector * LANES + q - vectors[1, n_vectors - 1]] = i % LANES
    chosen, goes_to = vectors[0], vectors[1]
    for j in range(n_neurons):
        source, target = slot(j) * x_stride, slot(j) * y_stride
        for v in range(n_vectors):
            at = np.int64(chosen[np.uint64(v)]) * LANES
            pick8(x, source + at, lanes, at, y, target + np.int64(goes_to[np.uint64(v)]))
    clear_padding(n_neurons, y, y_stride, n_picked, y_stride)


@inline
def clear_padding(n_neurons, block, stride, first, last):
    """Zero lanes ``first .. last`` of a block, which hold no instance.

    block : float32 (block_slots * stride,)
    """
    if first < last:
        for j in range(n_neurons):
            for i in range(first, last):
                block[np.uint64(slot(j) * stride + i)] = 0
