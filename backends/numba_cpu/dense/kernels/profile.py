"""Counts the nonzero activations of every instance before every layer, with dense blocks and sparse layers."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline, kernel
from backends.numba_cpu.dense.kernels.filling import load_block
from backends.numba_cpu.dense.kernels.layers import layer_on_block
from backends.numba_cpu.dense.kernels.moves import slot
from backends.numba_cpu.dense.kernels.pools import COUNT, CURSOR, LAYER, SIDE, STRIDE, drop_finished


@inline
def count_nonzeros(net, stands_for, starts, work, counts):
    """Count the nonzeros of each instance of the current block, with those that merged outputs stand for.

    net : Neurons, work : BlockWork
    stands_for : int32 (outputs of all layers,), starts : int64 (n_layers,)    see `count_blocks`
    counts : int32 (n_layers + 1, n_rows)                                      result, in row `layer`
    """
    state, tally = work.state, work.alive
    layer, count, stride = state[LAYER], state[COUNT], state[STRIDE]
    block, ids, of_layer = work.blocks[state[SIDE]], work.ids[state[SIDE]], counts[layer]
    for i in range(count):
        tally[i] = 0
    for j in range(net.widths[layer]):
        base, weight = np.uint64(slot(j) * stride), np.int32(1)
        if layer > 0:
            weight = stands_for[starts[layer - 1] + j]
        for i in range(count):
            tally[np.uint64(i)] += weight * np.int32(block[np.uint64(base + np.uint64(i))] != 0)
    for i in range(count):
        of_layer[ids[i]] = tally[i]


@kernel
def count_blocks(net, conn, stands_for, starts, work, column, counts):
    """Take all rows through all layers, block by block, and count their nonzeros.

    net : Neurons, conn : Connections, work : BlockWork, column : Column
    stands_for : int32 (outputs of all layers,)    how many of the network's outputs each one stands for
    starts : int64 (n_layers,)                     where each layer's outputs start in it
    counts : int32 (n_layers + 1, n_rows)          result; must be zero, which is what instances that are dropped keep
    """
    state, block_rows, n_layers = work.state, work.ids.shape[1], net.low.shape[0]
    while state[CURSOR] < work.rows.shape[0]:
        load_block(net, work, column.band, block_rows, net.zeros_stay[0])
        count_nonzeros(net, stands_for, starts, work, counts)
        while state[COUNT] > 0 and state[LAYER] < n_layers:
            layer, side = state[LAYER], state[SIDE]
            layer_on_block(
                net, conn, layer, work.blocks[side], work.blocks[1 - side], state[STRIDE], np.int64(0), net.widths[layer + 1],
                column, column.wide, is_dense=False,
            )  # fmt: skip
            for i in range(state[COUNT]):
                work.ids[1 - side, i] = work.ids[side, i]
            state[SIDE], state[LAYER] = 1 - side, layer + 1
            count_nonzeros(net, stands_for, starts, work, counts)
            if net.zeros_stay[layer + 1]:
                drop_finished(net, work)
