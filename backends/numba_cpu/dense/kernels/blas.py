"""Runs layers that are stored dense through BLAS: one product of matrices a layer (or a member's rows of it) and a block."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.common.kernels.activation import PER_NEURON, activate, activate_row
from backends.numba_cpu.dense.kernels.moves import slot
from backends.numba_cpu.dense.kernels.simd import SKEW_SHIFT


@inline
def is_through_blas(conn, layer):
    """Whether a layer is stored for BLAS.

    conn : Connections
    """
    return conn.start.shape[0] > 0 and conn.start[layer] >= 0


@inline
def rows_of(n_neurons):
    """Rows of a block up to that of the last neuron."""
    return slot(n_neurons - 1) + 1 if n_neurons > 0 else 0


@inline
def clear_free_rows(x, stride, n_rows):
    """Zero the rows that hold no neuron: what an earlier block has left there may not be finite.

    x : float32 (block_slots * stride,)
    """
    step = (1 << SKEW_SHIFT) + 1
    for row in range(step - 1, n_rows, step):
        for i in range(row * stride, (row + 1) * stride):
            x[np.uint64(i)] = 0


@inline
def n_connections_of(conn, layer, first_output, last_output):
    """Count the weights of some outputs that are not zero.

    conn : Connections
    """
    if conn.degree[layer] >= 0:
        return conn.degree[layer] * (last_output - first_output)
    at = conn.indptr_at[layer]
    return conn.indptr[at + last_output] - conn.indptr[at + first_output]


@inline
def blas_layer_on_block(net, conn, layer, x, y, stride, first_output, last_output):
    """Run outputs ``first_output .. last_output`` of a layer; returns the connections used: multiplying by zero is no work.

    net : Neurons, conn : Connections
    x, y : float32 (block_slots * stride,)    activations before and after the layer
    """
    if first_output == last_output:
        return np.int64(0)
    n_rows, first, last = rows_of(net.widths[layer]), slot(first_output), slot(last_output - 1) + 1
    sums = y[first * stride : last * stride].reshape((last - first, stride))
    if n_rows == 0:
        sums[:] = 0
    else:
        clear_free_rows(x, stride, n_rows)
        from_row = conn.start[layer] + first * n_rows
        weights = conn.weights[from_row : from_row + (last - first) * n_rows].reshape((last - first, n_rows))
        np.dot(weights, x[: n_rows * stride].reshape((n_rows, stride)), sums)
    biases, biases_at, low, high = net.bias, net.bias_at[layer], net.low[layer], net.high[layer]
    activations, activations_at = net.activations, net.activations_at[layer]
    for j in range(first_output, last_output):
        bias = biases[biases_at + j]
        at_zero = bias if net.bias_always else np.float32(0)
        row = slot(j) * stride
        for i in range(row, row + stride):
            y[np.uint64(i)] = activate(y[np.uint64(i)], bias, at_zero, low, high)
        if activations_at >= 0:
            activate_row(y, row, row + stride, activations, activations_at + PER_NEURON * j)
    return n_connections_of(conn, layer, first_output, last_output)
