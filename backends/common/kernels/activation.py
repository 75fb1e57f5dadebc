"""Activates one neuron, for kernels that finish sums one by one (for vectors see `numba_cpu.dense.kernels.simd`)."""

from __future__ import annotations

from backends.common.jit import inline


@inline
def activate(total, bias, bias_at_zero, low, high):
    """Return ``min(max(z, low), high)``, where z is total + bias, or `bias_at_zero` if the total is zero; all float32.

    `bias_at_zero` is the bias, or 0 where a bias is for nonzero sums only (Kepner et al., "Sparse Deep Neural Network Graph
    Challenge", HPEC 2019).
    """
    z = total + bias if total != 0 else bias_at_zero
    z = low if z < low else z
    return high if z > high else z
