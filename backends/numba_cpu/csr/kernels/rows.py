"""Computes single rows of a row group in CSR with a sparse accumulator.

A row's entries are kept in ascending neuron order, so that every output's terms are added in ascending input order. To
append a row in order without sorting it or looking at every neuron, the accumulator is divided into blocks of 64 neurons, and
only those blocks that a row has reached are looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.jit import inline
from backends.common.kernels.activation import PER_NEURON, activate, activate_own, activated_zero

# Entries of RowWork.state
LAYER, N_ROWS, TOTAL_OPS, NEEDED, SIDE = range(5)
N_STATE = 8
BLOCK_SHIFT = 6


class RowWork(NamedTuple):
    """A row group in CSR, which all members of its team work on; two matrices that swap at every layer.

    start, stop : int64 (2, n_rows)       where each row's entries are
    ids0, ids1 : uint16 or uint32 (capacity,), values0, values1 : float32 (capacity,)    neurons and values
    rows : int64 (n_rows,)                position in the row group of each row still here
    state : int64 (N_STATE,)
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    ids0: NDArray[Any]
    ids1: NDArray[Any]
    values0: NDArray[np.float32]
    values1: NDArray[np.float32]
    rows: NDArray[np.int64]
    state: NDArray[np.int64]


class RowAccumulator(NamedTuple):
    """One worker's accumulator over the next layer's neurons.

    sums : float32 (64 * n_blocks,)       zero between rows
    touched : uint8 (n_blocks,)           blocks of the accumulator that the current row has reached
    """

    sums: NDArray[np.float32]
    touched: NDArray[np.uint8]


@inline
def room_needed(net, conn, layer, fills, first, last, start, stop, ids):
    """Bound the entries of rows ``first .. last`` of the next matrix; returns them and the multiply-adds they take.

    net : Neurons, conn : Connections
    start, stop : int64 (n_rows,), ids : uint16 or uint32 (capacity,)    the matrix before the layer, in CSR
    """
    n_outputs, base, indptr = net.widths[layer + 1], conn.start[layer], conn.indptr
    needed, n_ops = 0, 0
    for row in range(first, last):
        reached = 0
        for p in range(start[row], stop[row]):
            i = np.uint64(base + np.int64(ids[np.uint64(p)]))
            reached += indptr[i + np.uint64(1)] - indptr[i]
        n_ops += reached
        needed += n_outputs if fills else min(reached, n_outputs)
    return needed, n_ops


@inline
def fills_zeros(net, layer):
    """Whether any output of the layer makes something else than zero of a sum of zero.

    net : Neurons
    """
    low, high, zero, biases_at = net.low[layer], net.high[layer], np.float32(0), net.bias_at[layer]
    activations, activations_at = net.activations, net.activations_at[layer]
    for j in range(net.widths[layer + 1]):
        at_zero = net.bias[biases_at + j] if net.bias_always else zero
        if activated_zero(at_zero, low, high, activations, activations_at, j) != 0:
            return True
    return False


@inline
def accumulate_row(indptr, conn_ids, conn_weights, first, begin, end, ids, values, sums, touched):
    """Add up one row of the next activations.

    indptr : int64 (inputs of all layers + 1,)                                        see `Connections`
    conn_ids : uint16 or uint32 (connections,), conn_weights : float32 (connections,)
    ids : uint16 or uint32 (capacity,), values : float32 (capacity,)                  the row, from `begin` to `end`
    sums : float32 (64 * n_blocks,), touched : uint8 (n_blocks,)                      result, zero before
    """
    for p in range(begin, end):
        at = np.uint64(p)
        value = values[at]
        i = np.uint64(first + np.int64(ids[at]))
        for q in range(indptr[i], indptr[i + np.uint64(1)]):
            k = np.uint64(q)
            j = np.uint64(conn_ids[k])
            sums[j] += value * conn_weights[k]
            touched[j >> np.uint64(BLOCK_SHIFT)] = 1


@inline
def store_row(biases, bias_always, base, low, high, n_outputs, fills, sums, touched, at, new_ids, new_values):
    """Append the nonzero activations of the accumulated row in ascending order, and clear the accumulator.

    biases : float32 (biases of all layers,)                                    those of the layer from `base` on
    sums : float32 (64 * n_blocks,), touched : uint8 (n_blocks,)                zeroed again
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result, from `at` on
    """
    for block in range((n_outputs + 63) >> BLOCK_SHIFT):
        if touched[block] == 0 and not fills:
            continue
        touched[block] = 0
        for j in range(block << BLOCK_SHIFT, min((block + 1) << BLOCK_SHIFT, n_outputs)):
            bias = biases[base + j]
            z = activate(sums[np.uint64(j)], bias, bias if bias_always else np.float32(0), low, high)
            sums[np.uint64(j)] = 0
            target = np.uint64(at)
            new_ids[target] = j
            new_values[target] = z
            at += z != 0
    return at


@inline
def store_own_row(
    biases, bias_always, base, activations, activations_at, n_outputs, fills, sums, touched, at, new_ids, new_values
):
    """Do what `store_row` does, where each neuron has an activation of its own.

    biases : float32 (biases of all layers,)                                    those of the layer from `base` on
    activations : float32 (4 numbers of each neuron,)                           those of the layer from `activations_at` on
    sums : float32 (64 * n_blocks,), touched : uint8 (n_blocks,)                zeroed again
    new_ids : uint16 or uint32 (capacity,), new_values : float32 (capacity,)    result, from `at` on
    """
    for block in range((n_outputs + 63) >> BLOCK_SHIFT):
        if touched[block] == 0 and not fills:
            continue
        touched[block] = 0
        for j in range(block << BLOCK_SHIFT, min((block + 1) << BLOCK_SHIFT, n_outputs)):
            bias, total = biases[base + j], sums[np.uint64(j)]
            z = total + bias if total != 0 else (bias if bias_always else np.float32(0))
            y = activate_own(z, activations, activations_at + PER_NEURON * j)
            sums[np.uint64(j)] = 0
            target = np.uint64(at)
            new_ids[target] = j
            new_values[target] = y
            at += y != 0
    return at
