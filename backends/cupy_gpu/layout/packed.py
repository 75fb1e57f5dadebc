"""Describes a network that is packed: where each layer's arrays lie, and what a kernel needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """The place of a layer, and the facts that a kernel needs about it.

    Attributes
    ----------
    at, n_bytes : int
        Its part of the network's bytes.
    parts : dict of str to int
        Where each of its arrays starts in that part.
    n_inputs, n_outputs, nnz : int
    most_terms : int
        Connections of an output at most.
    kernel : str
        Name of the fused kernel for it; empty for cuSPARSE.
    weight : float
        The weight, where all are the same and not stored.
    low, high : float
        Limits of the activation; none where neurons have activations of their own, which are a part.
    slice_work : int64 array, shape (n_slices + 1,)
        Terms in front of each slice; empty for cuSPARSE.
    shared_bytes : int
        Shared memory that the kernel stages inputs in.
    scales_after : bool
        Whether sums of inputs, times the weight, are known to have the bits of sums of inputs times the weight.
    """

    at: int
    n_bytes: int
    parts: dict[str, int]
    n_inputs: int
    n_outputs: int
    nnz: int
    most_terms: int
    kernel: str
    weight: float
    low: float
    high: float
    slice_work: NDArray[np.int64]
    shared_bytes: int
    scales_after: bool = False

    @property
    def identity(self) -> tuple[int, ...]:
        """What two layers have in common that are the same, for a kernel."""
        return (self.at, self.n_bytes, self.n_inputs, self.n_outputs, self.nnz, *self.parts.values())


@dataclass(frozen=True, slots=True)
class NarrowLayers:
    """Runs of narrow layers, and the kernel's tables; see `layers_staged` in `kernels.cu`.

    Attributes
    ----------
    ends : int64 array, shape (n_layers,)
        Where the run that a layer is in ends (exclusive); 0 where it is in none.
    table : int64 array, shape (n_layers, 9)
    numbers : float32 array, shape (n_layers, 3)
    """

    ends: NDArray[np.int64]
    table: NDArray[np.int64]
    numbers: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PackedNetwork:
    """A network as the kernels take it.

    Attributes
    ----------
    store : uint8 array
        The bytes of all layers; what several layers have in common is there once.
    layers : list of PackedLayer
    last : int32 array, shape (n_outputs,)
        Which neuron of the last layer's block is each output.
    bias_everywhere : bool
    zeros_stay, full_stays : bool arrays, shape (n_layers + 1,)
        Whether an instance that is all zero (everywhere at the maximum) before a layer is so after the last.
    narrow : NarrowLayers, or None
        Layers that may be computed several in one launch; None for cuSPARSE.
    """

    store: NDArray[np.uint8]
    layers: list[PackedLayer]
    last: NDArray[np.int32]
    bias_everywhere: bool
    zeros_stay: NDArray[np.bool_]
    full_stays: NDArray[np.bool_]
    narrow: NarrowLayers | None

    @property
    def widest(self) -> int:
        """Neurons of the widest block."""
        return max(self.layers[0].n_inputs, *(layer.n_outputs for layer in self.layers))

    @property
    def largest_layer_bytes(self) -> int:
        """Bytes of the largest layer."""
        return max(layer.n_bytes for layer in self.layers)

    @property
    def n_different(self) -> int:
        """How many layers have bytes of their own; the others are the same as one of them."""
        return len({layer.at for layer in self.layers})
