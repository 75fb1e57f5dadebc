"""Lays out layers in which the outputs of a thread have the same inputs, and chooses those whose sums only add."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.kernels.source import ADDED, AHEAD, INPUT_BYTES, OUTPUTS, SLICE, shared_kernel
from backends.cupy_gpu.layout.kernels.packing import fill_quads
from backends.cupy_gpu.layout.magnitudes import Magnitudes, scales_after_adding
from backends.cupy_gpu.layout.narrow import PART
from backends.cupy_gpu.layout.packed import PackedLayer

QUADS = SLICE // OUTPUTS
"""Quads of outputs in a slice, each of which a row of threads computes."""


def in_quads(
    slices: NDArray[np.int64], local: NDArray[Any], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]:
    """Lay out the terms of slices as `shared_layer` in `kernels.cu` takes them: where slices begin, ids, weights.

    slices : int64 (n_slices + 1,), local : uint16 or uint32 (slices[-1],), weights : float32 (slices[-1],) or (0,)
    """
    n_terms = np.diff(slices) // SLICE
    quad_slices = np.concatenate([[0], np.cumsum(-(-n_terms // AHEAD) * AHEAD * QUADS)])
    ids = np.zeros(int(quad_slices[-1]), np.uint32)
    quad_weights = np.zeros(OUTPUTS * len(ids) if len(weights) else 0, np.float32)
    fill_quads(slices, local, weights, OUTPUTS, SLICE, INPUT_BYTES, quad_slices, ids, quad_weights)
    return quad_slices, ids, quad_weights


class OnlyAdding:
    """Layers of which the kernels apply the weight to the sums, where that has the same bits; each of them once."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[PackedLayer, PackedLayer]] = {}  # the first keeps its id from being another layer's

    def of(self, layer: PackedLayer, before: Magnitudes) -> PackedLayer:
        """Return a layer in this form, if what comes in is known to allow it, and a kernel can make use of it; else itself."""
        shares = layer.kernel == shared_kernel(uniform=True)
        usable = shares or (PART in layer.parts and "uniform" in layer.kernel)
        if not usable or not scales_after_adding(layer.weight, layer.most_terms, before):
            return layer
        if id(layer) not in self._made:
            kernel = ADDED if shares else layer.kernel
            self._made[id(layer)] = layer, replace(layer, scales_after=True, kernel=kernel)
        return self._made[id(layer)][1]
