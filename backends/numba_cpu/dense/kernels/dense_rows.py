"""Takes a caller's dense batch through all layers in blocks of instances, each thread one block after the other."""

from __future__ import annotations

import numpy as np

from backends.common.jit import atomic_add, atomic_store, inline, kernel
from backends.common.kernels.arrays_at import floats_at
from backends.common.raw_memory import read_float, write_float
from backends.numba_cpu.dense.kernels.lanes import all_finite
from backends.numba_cpu.dense.kernels.layers import layer_on_block
from backends.numba_cpu.dense.kernels.moves import padded, slot

LINE = 8
NEXT, OVERFLOWN = 0, LINE
"""Entries of `shared`: the first instance that no thread has taken, and whether an output was not finite."""

BAND = 64
"""Neurons that are brought in at a time for all instances of a block: their rows stay in the first-level cache."""


@inline
def load_rows(rows, first, count, stride, n_inputs, block):
    """Bring instances first .. first + count of the caller's array into a block; lanes without one are zero.

    rows : Rows
    block : float32 (block_slots * stride,)    result
    """
    for begin in range(0, n_inputs, BAND):
        end = min(begin + BAND, n_inputs)
        for i in range(count):
            row = rows.x + (first + i) * rows.x_row
            if rows.x_column == 4:
                values = floats_at(row, n_inputs)
                for j in range(begin, end):
                    block[np.uint64(slot(j) * stride + i)] = values[j]
            else:
                for j in range(begin, end):
                    block[np.uint64(slot(j) * stride + i)] = read_float(row + j * rows.x_column)
        for j in range(begin, end):
            for i in range(count, stride):
                block[np.uint64(slot(j) * stride + i)] = 0


@inline
def store_rows(rows, first, count, stride, last, block):
    """Bring the outputs of a block's instances into the caller's array; False if one is not finite.

    rows : Rows
    last : int32 (n_outputs,)                  neuron of the block that is each output
    block : float32 (block_slots * stride,)
    """
    wrong = False
    for i in range(count):
        row = rows.out + (first + i) * rows.out_row
        for j in range(last.shape[0]):
            value = block[np.uint64(slot(np.int64(last[j])) * stride + i)]
            wrong |= value - value != 0
            write_float(row + j * rows.out_column, value)
    return not wrong


@kernel
def rows_are_finite(rows, n, n_inputs):
    """Whether all numbers of the caller's array are finite.

    rows : Rows
    """
    return all_finite(rows, n, n_inputs)


@kernel
def take_blocks(rows, n, at_once, net, conn, column, blocks, shared):
    """Take `at_once` instances after the other through all layers, until none is left.

    rows : Rows
    net : Neurons, conn : Connections, column : Column
    blocks : float32 (2, floats)       this thread's activations before and after a layer
    shared : int64 (2 * LINE,)         of all threads: see `NEXT`
    """
    while True:
        first = atomic_add(shared, NEXT, at_once)
        if first >= n:
            return
        count = min(at_once, n - first)
        stride, side = padded(count), 0
        load_rows(rows, first, count, stride, net.widths[0], blocks[0])
        for layer in range(net.low.shape[0]):
            x, y, n_outputs = blocks[side], blocks[1 - side], net.widths[layer + 1]
            layer_on_block(net, conn, layer, x, y, stride, np.int64(0), n_outputs, column, column.wide, is_dense=False)
            side = 1 - side
        if not store_rows(rows, first, count, stride, net.last, blocks[side]):
            atomic_store(shared, OVERFLOWN, np.int64(1))
