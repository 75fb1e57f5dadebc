"""Activates one neuron, for kernels that finish sums one by one (for vectors see `numba_cpu.dense.kernels.simd`).

Of most layers all neurons have one clamp, which ends a sum at once. In others each neuron has its own activation: the clamp of
such a layer lets everything through, and what it lets through is activated in a second step.
"""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline
from backends.common.kernels.smooth import gelu, sigmoid, tanh

FUNCTION, LOW, HIGH, SLOPE, PER_NEURON = range(5)
"""Where `activations` has what of a neuron (see `sparsednn.network.Activation.table`), and how many numbers that are."""

SLOPED, SIGMOID, TANH, GELU = range(4)
"""Numbers of functions."""


@inline
def activate(total, bias, bias_at_zero, low, high):
    """Return ``min(max(z, low), high)``, where z is total + bias, or `bias_at_zero` if the total is zero; all float32.

    `bias_at_zero` is the bias, or 0 where a bias is for nonzero sums only (Kepner et al., "Sparse Deep Neural Network Graph
    Challenge", HPEC 2019).
    """
    z = total + bias if total != 0 else bias_at_zero
    z = low if z < low else z
    return high if z > high else z


@inline
def clamped(y, low, high):
    """Return ``min(max(y, low), high)`` without a minus zero; all float32."""
    y = low if y < low else y
    return (high if y > high else y) + np.float32(0)


@inline
def activate_own(z, activations, at):
    """Return what a neuron makes of z, a sum with its bias; float32.

    activations : float32 (4 numbers of each neuron,)    the neuron's from `at` on
    """
    function, low, high = activations[at + FUNCTION], activations[at + LOW], activations[at + HIGH]
    if function == SLOPED:
        y = activations[at + SLOPE] * z if z < 0 else z
    elif function == SIGMOID:
        y = sigmoid(z)
    elif function == TANH:
        y = tanh(z)
    else:
        y = gelu(z)
    return clamped(y, low, high)


@inline
def activated_zero(bias_at_zero, low, high, activations, activations_at, j):
    """Return what output j of a layer makes of a sum of zero; float32.

    activations : float32 (4 numbers of each neuron,)    the layer's from `activations_at` on; below 0: it has one clamp
    """
    y = activate(np.float32(0), np.float32(0), bias_at_zero, low, high)
    return activate_own(y, activations, activations_at + PER_NEURON * j) if activations_at >= 0 else y


@inline
def activate_row(row, first, last, activations, at):
    """Replace a neuron's sums with their biases, ``row[first] .. row[last - 1]``, by what it makes of them.

    row : float32 (n,)                                   result
    activations : float32 (4 numbers of each neuron,)    the neuron's from `at` on
    """
    function, low, high, slope = (
        activations[at + FUNCTION], activations[at + LOW], activations[at + HIGH], activations[at + SLOPE]
    )  # fmt: skip
    if function == SLOPED:
        for i in range(first, last):
            z = row[np.uint64(i)]
            row[np.uint64(i)] = clamped(slope * z if z < 0 else z, low, high)
    elif function == SIGMOID:
        for i in range(first, last):
            row[np.uint64(i)] = clamped(sigmoid(row[np.uint64(i)]), low, high)
    elif function == TANH:
        for i in range(first, last):
            row[np.uint64(i)] = clamped(tanh(row[np.uint64(i)]), low, high)
    else:
        for i in range(first, last):
            row[np.uint64(i)] = clamped(gelu(row[np.uint64(i)]), low, high)
