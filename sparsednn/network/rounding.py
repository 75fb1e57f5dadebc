"""Rounds the weights of a network to 16 bits: what they are worth when they are stored as bfloat16 or float16.

Both round to the nearest number that they have, of two equally near ones to the one whose last bit is 0 (IEEE 754-2019). The
rounded weights are float32 numbers, with which every kernel computes as with any others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import OptionError
from sparsednn.network.activation import Float32
from sparsednn.network.layer import AnyLayer, Layer, RepeatedLayer, ShiftedLayer
from sparsednn.network.network import Network
from sparsednn.options.groups import WEIGHTS

FLOAT32, BFLOAT16, FLOAT16 = WEIGHTS

LARGEST = {BFLOAT16: float(np.uint32(0x7F7F0000).view(np.float32)), FLOAT16: float(np.finfo(np.float16).max)}
"""The largest number of each format."""

UNIT_ROUNDOFF = {BFLOAT16: 2.0**-8, FLOAT16: 2.0**-11}
"""How far a weight moves at most, as a share of itself; float16's below 6.1e-5, which are denormal in it, move farther."""


def _to_bfloat16(values: Float32) -> Float32:
    bits = values.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded: Float32 = ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded


def _to_float16(values: Float32) -> Float32:
    with np.errstate(over="ignore"):  # what has become infinite is refused
        return values.astype(np.float16).astype(np.float32)


_ROUND: dict[str, Callable[[Float32], Float32]] = {BFLOAT16: _to_bfloat16, FLOAT16: _to_float16}


def with_weights(network: Network, weights: str) -> Network:
    """Return a network whose weights are rounded to one of `WEIGHTS`: the same object if that changes none.

    Weights that are rounded to zero are dropped. Biases and activations stay as they are.

    Raises
    ------
    OptionError
        If a weight is beyond the format's range; the message has the layer, its first such weight, and the way out.
    """
    if weights == FLOAT32:
        return network
    known: dict[int, tuple[Float32, Float32]] = {}
    layers = [_rounded_layer(number, layer, weights, known) for number, layer in enumerate(network.layers, start=1)]
    if all(new is old for new, old in zip(layers, network.layers, strict=True)):
        return network
    return Network.from_layers(layers, network.bias_on, network.challenge)


def tolerance_of_weights(weights: str, n_layers: int) -> float:
    """Return how far outputs may be from those of weights that were not rounded, as a share of the largest: if all roundings of
    a path added up, one a layer. Most are much nearer; where sums cancel, they may be farther.
    """
    return n_layers * UNIT_ROUNDOFF[weights]


def _rounded_layer(number: int, layer: AnyLayer, weights: str, known: dict[int, tuple[Float32, Float32]]) -> AnyLayer:
    """Return a layer with rounded weights; `known` has arrays that layers may share, by their ids, with what became of them."""
    if isinstance(layer, RepeatedLayer):
        given = np.broadcast_to(layer.weight, (1,))
    else:
        given = layer.weights if isinstance(layer, ShiftedLayer) else layer.values
    if id(given) not in known:
        known[id(given)] = given, _rounded(number, given, weights)
    _, rounded = known[id(given)]
    if np.array_equal(rounded, given):
        return layer
    if not rounded.all():
        return _without_zeros(layer.expanded(), weights)
    if isinstance(layer, RepeatedLayer):
        return replace(layer, weight=rounded[0])
    return replace(layer, weights=rounded) if isinstance(layer, ShiftedLayer) else replace(layer, values=rounded)


def _rounded(number: int, given: Float32, weights: str) -> Float32:
    """Return rounded weights; of a view in which one is repeated, such a view."""
    once = given[:1] if given.strides == (0,) else np.ascontiguousarray(given)
    rounded = _ROUND[weights](once)
    if not np.isfinite(rounded).all():
        weight = once[~np.isfinite(rounded)][0]
        raise OptionError(
            f"weights={weights}: layer {number} has the weight {weight:g}, beyond {weights}'s largest number, "
            f"{LARGEST[weights]:g}; use weights={'bfloat16 or ' if weights == FLOAT16 else ''}float32"
        )
    return np.broadcast_to(rounded, given.shape) if given.strides == (0,) else rounded


def _without_zeros(layer: Layer, weights: str) -> Layer:
    """Return a layer with its weights rounded, and without the connections whose weights are zero then."""
    values = _ROUND[weights](np.ascontiguousarray(layer.values))
    stays: NDArray[np.bool_] = values != 0
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(stays)])[layer.indptr]
    return replace(layer, indptr=indptr, indices=layer.indices[stays], values=values[stays])
