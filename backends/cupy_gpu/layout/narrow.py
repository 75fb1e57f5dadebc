"""Finds runs of narrow layers, which a GPU computes in one launch, and tells the kernel where each layer lies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from backends.cupy_gpu.kernels.source import EACH, HELD, LANES, MINIBATCH, NONE, ONE, OUTPUTS, SHARED, THREADS
from backends.cupy_gpu.layout.packed import NarrowLayers, PackedLayer

FEWEST_LANES = 8
"""Threads of a block side by side, of four instances each, where layers are widest; with fewer, shared memory has conflicts."""

WIDEST = HELD * OUTPUTS * THREADS // FEWEST_LANES
"""Neurons before and after a narrow layer at most."""

PART = "narrow_ids"
"""The part of a layer's bytes with the ids that the kernel for runs takes: uint16, in the places of `ids`."""

STORED = (PART, "weights", "slices", "degrees", "bias", "activations")
"""Parts in the order of the kernel's table."""


def narrow_layers(layers: Sequence[PackedLayer]) -> NarrowLayers:
    """Return the runs of narrow layers of a network, two layers long at least."""
    ends, begin = np.zeros(len(layers), np.int64), 0
    for narrow, run in groupby(layers, lambda layer: PART in layer.parts):
        end = begin + len(list(run))
        if narrow and end - begin > 1:
            ends[begin:end] = end
        begin = end
    numbers = np.array([(layer.weight, layer.low, layer.high) for layer in layers], np.float32)
    return NarrowLayers(ends, np.array([_row(layer) for layer in layers], np.int64), numbers)


def is_narrow(n_inputs: int, n_outputs: int, kernel: str) -> bool:
    """Whether a layer may be in a run; those whose outputs share inputs are faster alone."""
    return max(n_inputs, n_outputs) <= WIDEST and not kernel.startswith(SHARED)


def shape(layers: Sequence[PackedLayer]) -> tuple[int, int]:
    """Return how many threads side by side take a run of layers, and how many bytes of shared memory it needs.

    The widest layer says so: there are as many instances as leave the other threads registers enough for all outputs.
    """
    widest = max(max(layer.n_inputs, layer.n_outputs) for layer in layers)
    lanes = LANES
    while HELD * OUTPUTS * THREADS // lanes < widest:
        lanes //= 2
    return lanes, 4 * MINIBATCH * lanes * widest


def _row(layer: PackedLayer) -> list[int]:
    weights = EACH if "uniform" not in layer.kernel else NONE if layer.scales_after else ONE
    places = [layer.at + layer.parts[part] if part in layer.parts else -1 for part in STORED]
    return [layer.n_inputs, layer.n_outputs, weights, *places]
