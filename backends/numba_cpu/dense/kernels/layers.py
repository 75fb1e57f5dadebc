"""Runs one layer on one dense block, output column by output column, or a group of columns with the same inputs at a time."""

from __future__ import annotations

import numpy as np

from backends.common.jit import entry_or, inline
from backends.common.kernels.activation import PER_NEURON, activate_row
from backends.numba_cpu.dense.kernels.blas import blas_layer_on_block, is_through_blas
from backends.numba_cpu.dense.kernels.grouped import GROUP_LANES, TILE_COLUMNS, columns_of_block, finish_stores
from backends.numba_cpu.dense.kernels.moves import slot
from backends.numba_cpu.dense.kernels.simd import WIDEST_TILE, column_of_block, tile_width
from backends.numba_cpu.dense.kernels.widening import SHORT_WEIGHTS, widen
from backends.numba_cpu.layout.kernels.connections import stored_column
from backends.numba_cpu.layout.kernels.groups import GROUP


@inline
def gather_column(dense_weights, base, n_inputs, column_ids, column_weights):
    """Collect the nonzero weights of a column of a dense layer; return how many there are.

    dense_weights : float32 (weights of all layers,)                                          the column's from `base` on
    column_ids : uint16 or uint32 (n_inputs,), column_weights : float32 (n_inputs,)           result
    """
    count = 0
    for i in range(n_inputs):
        weight = dense_weights[base + i]
        if weight != 0:
            column_ids[count] = i
            column_weights[count] = weight
            count += 1
    return count


@inline
def dense_layer_on_block(net, conn, layer, x, y, stride, first_output, last_output, column):
    """Run outputs ``first_output .. last_output`` of a layer that is stored dense; returns the connections used.

    net : Neurons, conn : Connections, column : Column
    x, y : float32 (block_slots * stride,)    activations before and after the layer
    """
    biases, biases_at, weights, start, n_inputs = (
        net.bias,
        net.bias_at[layer],
        conn.weights,
        conn.start[layer],
        net.widths[layer],
    )
    column_ids, column_weights, low, high = column.ids, column.weights, net.low[layer], net.high[layer]
    activations, activations_at = net.activations, net.activations_at[layer]
    nothing, one, width = np.int64(0), np.int64(1), tile_width(stride, WIDEST_TILE)
    n_connections = nothing
    for j in range(first_output, last_output):
        bias = biases[biases_at + j]
        at_zero = bias if net.bias_always else np.float32(0)
        count = gather_column(weights, start + j * n_inputs, n_inputs, column_ids, column_weights)
        column_of_block(
            x, stride, width, column_ids, nothing, nothing, count, column_weights, nothing, one, y, slot(j), bias, at_zero, low,
            high,
        )  # fmt: skip
        if activations_at >= 0:
            activate_row(y, slot(j) * stride, slot(j) * stride + stride, activations, activations_at + PER_NEURON * j)
        n_connections += count
    return n_connections


@inline
def groups_on_block(net, conn, layer, x, y, stride, first_output, last_output, column, wide):
    """Run outputs ``first_output .. last_output``, which are whole groups, of a layer on block x into block y.

    A last tile that would be narrower goes over lanes of the one before again: they get the same bits.
    Returns the connections used.

    net : Neurons, conn : Connections, column : Column
    x, y : float32 (block_slots * stride,)    activations before and after the layer; `stride` is at least GROUP_LANES
    wide : float32 (0,) or (1, floats)        that of `column`, by itself: what is compiled is for one of the two
    """
    order, order_at, biases, biases_at = net.order, net.order_at[layer], net.bias, net.bias_at[layer]
    bias_always, low, high, short_end = net.bias_always, net.low[layer], net.high[layer], net.short_end[layer]
    activations, activations_at = net.activations, net.activations_at[layer]
    degree, ids, ids_at, indptr, indptr_at = (
        conn.degree[layer], conn.ids, conn.ids_at[layer], conn.indptr, conn.indptr_at[layer]
    )  # fmt: skip
    columns, weights, weights_at, step = conn.column, conn.weights, conn.weights_at[layer], GROUP * conn.weight_step[layer]
    n_bytes = 4 * stride * (net.widths[layer] + net.widths[layer + 1])
    past_caches = activations_at < 0 and stride % GROUP_LANES == 0 and n_bytes > column.far_bytes
    nowhere, last_group, n_connections, one = np.int64(-1), conn.n_groups[layer] - 1, np.int64(0), np.int64(1)
    for group in range(first_output // GROUP, last_output // GROUP):
        start, count = stored_column(degree, ids_at, indptr, indptr_at, columns, nowhere, group)
        ahead, n_ahead = stored_column(degree, ids_at, indptr, indptr_at, columns, nowhere, min(group + 1, last_group))
        ahead = ahead if n_ahead >= count else start
        position, weights_from = order_at + group * GROUP, weights_at + (start - ids_at) * step
        if wide.ndim == SHORT_WEIGHTS:
            widen(weights, weights_from, one, GROUP * count if step > 0 else one * GROUP, wide)
        for begin in range(0, stride, GROUP_LANES):
            lane = min(begin, stride - GROUP_LANES)
            for first in range(0, GROUP, TILE_COLUMNS):
                if wide.ndim != SHORT_WEIGHTS:
                    columns_of_block(
                        x, stride, lane, ids, start, count, ahead, weights, weights_from + first, step, y, order,
                        position + first, biases, biases_at, bias_always, low, high, short_end, past_caches,
                    )  # fmt: skip
                else:
                    columns_of_block(
                        x, stride, lane, ids, start, count, ahead, wide, first, step, y, order, position + first, biases,
                        biases_at, bias_always, low, high, short_end, past_caches,
                    )  # fmt: skip
        if activations_at >= 0:
            for number in range(GROUP):
                j = np.int64(order[position + number])
                activate_row(y, slot(j) * stride, slot(j) * stride + stride, activations, activations_at + PER_NEURON * j)
        n_connections += GROUP * count
    if past_caches:
        finish_stores()
    return n_connections


@inline
def layer_on_block(net, conn, layer, x, y, stride, first_output, last_output, column, wide, is_dense):
    """Run outputs ``first_output .. last_output`` (in the layer's order) of one layer on block x into block y.

    Returns the connections used.

    net : Neurons, conn : Connections, column : Column
    x, y : float32 (block_slots * stride,)    activations before and after the layer
    wide : float32 (0,) or (1, floats)        that of `column`, by itself: what is compiled is for one of the two
    """
    if wide.ndim != SHORT_WEIGHTS:  # layers that are stored dense have weights of float32
        if is_dense:
            return dense_layer_on_block(net, conn, layer, x, y, stride, first_output, last_output, column)
        if is_through_blas(conn, layer):
            return blas_layer_on_block(net, conn, layer, x, y, stride, first_output, last_output)
    # Taken out of their tuples before the loop: inside, each access would count references, with atomics shared by all threads.
    order, biases, bias_always, low, high = net.order, net.bias, net.bias_always, net.low[layer], net.high[layer]
    order_at, biases_at = net.order_at[layer], net.bias_at[layer]
    activations, activations_at = net.activations, net.activations_at[layer]
    degree, ids, ids_at, indptr, indptr_at = (
        conn.degree[layer],
        conn.ids,
        conn.ids_at[layer],
        conn.indptr,
        conn.indptr_at[layer],
    )
    columns, column_at, offsets, offset_at = conn.column, conn.column_at[layer], conn.offset, conn.offset_at[layer]
    weights, weights_at, step = conn.weights, conn.weights_at[layer], conn.weight_step[layer]
    width = tile_width(stride, WIDEST_TILE)
    n_connections = np.int64(0)  # a literal would have the column compiled a second time
    nothing, one = np.int64(0), np.int64(1)
    grouped, weights_after = GROUP * conn.n_groups[layer], weights_at
    if grouped > 0:
        if stride >= GROUP_LANES:
            n_connections += groups_on_block(
                net, conn, layer, x, y, stride, first_output, min(last_output, grouped), column, wide
            )
            first_output = max(first_output, grouped)
        after, _ = stored_column(degree, ids_at, indptr, indptr_at, columns, column_at, conn.n_groups[layer])
        weights_after += (GROUP - 1) * (after - ids_at) * step
    for position in range(first_output, last_output):
        j = np.int64(order[order_at + position])
        bias = biases[biases_at + j]
        at_zero = bias if bias_always else np.float32(0)
        if position < grouped:
            stored, apart, weights_from = position // GROUP, GROUP * step, weights_at + position % GROUP
        else:
            stored, apart, weights_from = position - grouped // GROUP * (GROUP - 1), step, weights_after
        start, count = stored_column(degree, ids_at, indptr, indptr_at, columns, column_at, stored)
        weights_from += (start - ids_at) * apart
        offset = entry_or(offsets, offset_at + position, offset_at >= 0, np.int64(0))
        if wide.ndim != SHORT_WEIGHTS:
            column_of_block(
                x, stride, width, ids, offset, start, count, weights, weights_from, apart, y, slot(j), bias, at_zero, low, high
            )
        else:
            widen(weights, weights_from, apart, count, wide)
            column_of_block(
                x, stride, width, ids, offset, start, count, wide, nothing, one, y, slot(j), bias, at_zero, low, high
            )
        if activations_at >= 0:
            activate_row(y, slot(j) * stride, slot(j) * stride + stride, activations, activations_at + PER_NEURON * j)
        n_connections += count
    return n_connections
