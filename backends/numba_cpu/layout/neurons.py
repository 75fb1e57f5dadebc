"""Packs widths, biases, activations and the order of computation of all neurons into flat arrays over all layers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.numba_cpu.layout.stores import Store, StoreMaker, memory_store
from sparsednn.network import AnyLayer, Network


class Neurons(NamedTuple):
    """The widths, biases, activations and order of all neurons, in every format. Layer l has ``widths[l + 1]`` outputs.

    widths : int64 (n_layers + 1,)       neurons before the first layer and after each one
    order : uint16 or uint32             layer l's outputs in the order they are computed, from ``order_at[l]`` on
    bias : float32                       added to a nonzero sum; of layer l from ``bias_at[l]`` on
    order_at, bias_at : int64 (n_layers,)
    bias_always : bool                   the bias is added to a sum of zero too
    low, high : float32 (n_layers,)      the activation clamps to this range; where neurons have their own, to all numbers
    activations : float32                those layers' activations, 4 numbers a neuron; of layer l from ``activations_at[l]`` on
    activations_at : int64 (n_layers,)   -1 where all neurons have one clamp
    short_end : bool (n_layers,)         a sum of zero needs no look, and what is not a number is negative (see `ends_short`)
    zeros_stay : bool (n_layers + 1,)    a row of zeros before the layer is one after the last layer
    full_stays : bool (n_layers + 1,)    a row with every neuron at its maximum before the layer is one after the last layer
    high_bits : int32 (n_layers,)        bits of `high`
    full_sum : float64 (1,)              sum of such a row after the last layer
    last : int32 (n_outputs,)            for each of the network's outputs, the last layer's output that stands for it
    """

    widths: NDArray[np.int64]
    order: NDArray[np.uint16] | NDArray[np.uint32]
    bias: NDArray[np.float32]
    order_at: NDArray[np.int64]
    bias_at: NDArray[np.int64]
    bias_always: bool
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    activations: NDArray[np.float32]
    activations_at: NDArray[np.int64]
    short_end: NDArray[np.bool_]
    zeros_stay: NDArray[np.bool_]
    full_stays: NDArray[np.bool_]
    high_bits: NDArray[np.int32]
    full_sum: NDArray[np.float64]
    last: NDArray[np.int32]


def small_ids(largest: int) -> type[np.uint16] | type[np.uint32]:
    """Return the smallest index type that holds `largest`. Unsigned: a signed index would be checked for being negative."""
    return np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32


def neuron_ids(network: Network) -> type[np.uint16] | type[np.uint32]:
    """Return the smallest index type that holds every neuron's id."""
    return small_ids(max(network.n_inputs, *(layer.n_outputs for layer in network.layers)) - 1)


def clamp_of(layer: AnyLayer) -> tuple[float, float]:
    """Return the limits that end a layer's sums: none where each neuron has an activation of its own, which comes after."""
    return (layer.activation.low, layer.activation.high) if layer.activation.is_clamp else (-np.inf, np.inf)


def ends_short(layer: AnyLayer, *, bias_always: bool) -> bool:
    """Return whether a layer's sums may end without a look at whether they are zero: bias and clamp give the same bits then.

    Sums begin with zero, so none is minus zero.
    Such an end also takes a number that is none for less than the upper limit if its sign bit is set. That is so for those that
    arithmetic makes on x86 of infinities (Intel 64 Software Developer's Manual 1, 4.8.3.7: the "QNaN floating-point
    indefinite"), as long as no activation but clamps has seen them.
    """
    low, high = (np.float32(limit) for limit in clamp_of(layer))
    bias = layer.bias[:1] if layer.bias.strides == (0,) else layer.bias  # one for all

    def bits(z: NDArray[np.float32]) -> NDArray[np.int32]:
        z = np.where(z < low, low, z)
        return np.where(z > high, high, z).view(np.int32)

    expected = bits(bias if bias_always else np.zeros_like(bias))
    return np.array_equal(bits(np.float32(0) + bias), expected) and not np.signbit(high)


class NeuronPacker:
    """Collects widths, biases, activations and the order of computation, layer by layer."""

    def __init__(self, network: Network, store: StoreMaker = memory_store) -> None:
        self.network = network
        self.widths = [network.n_inputs]
        self.clamps: list[tuple[float, float]] = []
        self.short_end: list[bool] = []
        self.only_clamps = True
        self.order, self.bias = store("order", neuron_ids(network)), Store(np.float32)
        self.activations = Store(np.float32)

    def add(self, layer: AnyLayer, order: NDArray[np.integer] | None) -> None:
        """Add a layer whose outputs are computed in an order (None: as they are)."""
        self.widths.append(layer.n_outputs)
        self.clamps.append(clamp_of(layer))
        self.short_end.append(self.only_clamps and ends_short(layer, bias_always=self.network.bias_on == "all"))
        self.only_clamps &= layer.activation.is_clamp
        self.activations.add(None if layer.activation.is_clamp else layer.activation.table(layer.n_outputs).reshape(-1))
        self.order.add(np.arange(layer.n_outputs) if order is None else order)
        self.bias.add(layer.bias)

    def pack(self, full_stays: NDArray[np.bool_], last: NDArray[np.int32]) -> Neurons:
        """Return what has been collected."""
        low, high = np.array(self.clamps, np.float32).T.copy()
        full = np.full(len(last), high[-1] if full_stays[-1] else 0, np.float64)
        return Neurons(
            widths=np.array(self.widths, np.int64),
            order=self.order.array(),
            bias=self.bias.array(),
            order_at=self.order.offsets(),
            bias_at=self.bias.offsets(),
            bias_always=self.network.bias_on == "all",
            low=low,
            high=high,
            activations=self.activations.array(),
            activations_at=self.activations.offsets(),
            short_end=np.array(self.short_end, np.bool_),
            zeros_stay=np.append(self.network.zero_rows_stay_zero(), True),
            full_stays=full_stays,
            high_bits=high.view(np.int32),
            full_sum=np.add.accumulate(full)[-1:],  # added one by one, as kernels do
            last=last,
        )
