"""Makes activations of a layer's sums where each neuron has an activation of its own, for layers in slices."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.common.kernels.activation import PER_NEURON, activate_row
from backends.numba_cpu.layout.kernels.slices import ACTIVATIONS_AT, COLUMNS, FIRST_SLICE


@inline
def activate_slices(flat, y_at, lanes, net, layer, first, last):
    """Make activations of the sums of the slices first .. last of a layer, where each neuron has an activation of its own.

    flat : float32 (floats,)
    net : SlicedNet
    """
    order, activations = net.order, net.bias
    at = net.table[layer, ACTIVATIONS_AT] - PER_NEURON * COLUMNS * net.table[layer, FIRST_SLICE]
    for column in range(first * COLUMNS, last * COLUMNS):
        row = y_at + np.int64(order[column]) * lanes
        activate_row(flat, row, row + lanes, activations, at + PER_NEURON * column)
