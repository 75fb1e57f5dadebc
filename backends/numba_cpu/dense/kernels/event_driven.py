"""Takes one instance through a layer by its rows, input by input, where so few inputs are not zero that columns cost more.

Event-driven inference: only the connections of living inputs are touched, in ascending order of the inputs, so that sums have
the bits of the other kernels (a sum that begins at +0 never becomes -0, and adding a zero changes nothing else).
"""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.common.kernels.activation import activate
from backends.numba_cpu.dense.kernels.activating import activate_slices
from backends.numba_cpu.dense.kernels.scattered_sums import add_row
from backends.numba_cpu.layout.kernels.slices import ACTIVATIONS_AT, COLUMNS, N_INPUTS, N_OUTPUTS, N_SLICES, N_TERMS

PERCENT_ALIVE = 35
"""Of a layer's inputs, from which on columns are taken. A connection costs two to three times as much by rows, since each is a
load and a store of a sum: on a Zen 4 both are level at 30 % with 99 % of zeros, and above 39 % with 90 and 95 %."""

LEFT, SAVED = range(2)
"""Entries of a member's counts: terms of slices that would have gone by rows, had these been packed; and connections that were
not touched, since their inputs were zero."""

BY_ROWS = 0
"""In the place of lanes: one instance goes through the layer by its rows."""


@inline
def few_alive(flat, at, net, layer):
    """Whether few of a layer's inputs are not zero; they lie one after the other.

    flat : float32 (floats,)
    net : SlicedNet
    """
    n_inputs, alive = net.table[layer, N_INPUTS], np.int32(0)
    inputs = flat[at : at + n_inputs]
    for j in range(n_inputs):
        alive = np.int32(alive + np.int32(inputs[j] != 0))  # in 32 bits, or it is not done in vectors: 2 us for 4096
    return np.int64(alive) * 100 < n_inputs * PERCENT_ALIVE


@inline
def way_of_layer(at, lanes, net, layer, member):
    """The lanes of a layer, or BY_ROWS. Where the rows are not packed, what they would have had to do is noted.

    net : SlicedNet
    """
    if lanes > 1 or not few_alive(net.memory.reshape(-1), at, net, layer):
        return lanes
    if net.starts_at.shape[0] > 0:
        return BY_ROWS
    net.counts[member, LEFT] += net.table[layer, N_TERMS]
    return lanes


@inline
def living_inputs(flat, at, n_inputs, alive):
    """Write down which inputs are not zero, in ascending order; returns how many.

    flat : float32 (floats,)
    alive : int32 (neurons,)      result
    """
    n, inputs = 0, flat[at : at + n_inputs]
    for j in range(n_inputs):
        alive[n] = j
        n += inputs[j] != 0
    return n


@inline
def finished(flat, sums, y_at, net, layer, first, last):
    """Add the bias to the sums of the slices first .. last, clamp them, and bring them to their outputs' places.

    flat : float32 (floats,)
    sums : float32 (columns,)
    net : SlicedNet
    """
    low, high, always, n = net.clamps[layer, 0], net.clamps[layer, 1], net.always, (last - first) * COLUMNS
    bias, order = net.bias[first * COLUMNS : last * COLUMNS], net.order[first * COLUMNS : last * COLUMNS]
    for q in range(n):  # apart from the stores, so that it is done in vectors
        sums[q] = activate(sums[q], bias[q], bias[q] if always else np.float32(0), low, high)
    for q in range(n):
        flat[y_at + order[q]] = sums[q]


@inline
def layer_part_by_rows(x_at, y_at, net, layer, member, position, size):
    """Compute what member `member`, at a position of a team, has of a layer for one instance; see `lanes.layer_part`.

    net : SlicedNet
    """
    flat, n_members = net.memory.reshape(-1), net.memory.shape[0]
    floats, n_inputs = net.memory.shape[2], net.table[layer, N_INPUTS]
    if position == 0:
        flat[y_at + net.table[layer, N_OUTPUTS]] = np.float32(0)
    alive = net.alive[member]
    n_alive = living_inputs(flat, x_at, n_inputs, alive)
    own = member * 2 * floats + floats // 2
    sums = flat[own : own + net.table[layer, N_SLICES] * COLUMNS]
    targets, weights, starts, cuts = net.targets, net.row_weights, net.starts, net.cuts
    for part in range(position * n_members // size, (position + 1) * n_members // size):
        first, last = cuts[layer, n_members, part], cuts[layer, n_members, part + 1]
        sums[: (last - first) * COLUMNS] = np.float32(0)
        at = net.starts_at[layer] + part * (n_inputs + 1)
        saved = starts[at + n_inputs] - starts[at]
        for k in range(n_alive):
            j = alive[k]
            add_row(sums, targets, weights, starts[at + j], starts[at + j + 1], flat[x_at + j])
            saved -= starts[at + j + 1] - starts[at + j]
        net.counts[member, SAVED] += saved
        finished(flat, sums, y_at, net, layer, first, last)
        if net.table[layer, ACTIVATIONS_AT] >= 0:
            activate_slices(flat, y_at, np.int64(1), net, layer, first, last)
