"""Rounding of weights to 16 bits: every number as plain Python rounds it, and layers of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.errors import OptionError
from sparsednn.network.layer import AnyLayer, Layer, RepeatedLayer, ShiftedLayer
from sparsednn.network.rounding import LARGEST, UNIT_ROUNDOFF, with_weights
from tests.rounded import ROUND, rounded

SHORT = ("bfloat16", "float16")
RELU, NO_BIAS = sparsednn.relu(), np.zeros(2, np.float32)
COLUMNS, IDS = np.array([[0, 1]], np.uint16), np.arange(2, dtype=np.int32)


def of(*values: float) -> sparsednn.Network:
    """A network with these weights, on as many inputs."""
    return sparsednn.Network([np.array([values], np.float32).T])


def some_values(rng: np.random.Generator, weights: str) -> np.ndarray:
    """Numbers of all sizes that the format has, and each with its neighbours half way to the next of 16 bits."""
    least = -24 if weights == "float16" else -149
    most = 15 if weights == "float16" else 126
    random = np.ldexp(rng.uniform(-1.99, 1.99, 2000), rng.integers(least, most, 2000)).astype(np.float32)
    bits = random[np.abs(random) > 1e-30].view(np.uint32)
    half = {"bfloat16": 1 << 15, "float16": 1 << 12}[weights]
    ties = (bits & ~np.uint32(2 * half - 1)) | np.uint32(half)
    found = np.concatenate([random, *((ties + np.uint32(step)).view(np.float32) for step in (-1 % 2**32, 0, 1))])
    return found[found != 0]


@pytest.mark.parametrize("weights", SHORT)
def test_every_weight_is_rounded_to_the_nearest_and_halves_to_even(weights: str, rng: np.random.Generator) -> None:
    values = some_values(rng, weights)
    expected = rounded(values, weights)
    assert {-1.0, 1.0} <= set(np.sign(expected - values).tolist())
    found = with_weights(of(*values), weights).layers[0]
    assert found.values.tobytes() == expected[expected != 0].tobytes()
    assert found.indices.tolist() == np.flatnonzero(expected).tolist()
    normal = np.abs(values) > 1e-4
    assert (np.abs(expected - values)[normal] <= UNIT_ROUNDOFF[weights] * np.abs(values)[normal]).all()


@pytest.mark.parametrize("weights", SHORT)
def test_a_weight_beyond_the_largest_is_refused_and_its_layer_named(weights: str) -> None:
    """Half way to the next number, which there is not, is beyond."""
    largest, beyond = LARGEST[weights], {"bfloat16": (2 - 2.0**-8) * 2.0**127, "float16": 65520.0}[weights]
    below = float(np.nextafter(np.float32(beyond), np.float32(0)))
    assert ROUND[weights](largest) == largest
    assert with_weights(of(largest, -below), weights).layers[0].values.tolist() == [largest, -largest]
    with pytest.raises(OptionError, match=rf"weights={weights}: layer 2 has the weight -.*largest number, .*use weights=.*32$"):
        with_weights(sparsednn.Network([np.ones((1, 1)), np.array([[-beyond]])]), weights)


def test_float16_names_the_other_format_as_a_way_out() -> None:
    with pytest.raises(OptionError, match="layer 1 has the weight 70000, .* 65504; use weights=bfloat16 or float32$"):
        sparsednn.infer(of(7e4), np.ones((1, 1)), weights="float16")


LAYERS: dict[str, Any] = {
    "plain": lambda w: Layer(2, 2, np.array([0, 1, 2]), IDS, np.array([w, 1], np.float32), NO_BIAS, RELU),
    "one value": lambda w: Layer(2, 2, np.array([0, 1, 2]), IDS, np.broadcast_to(np.float32(w), (2,)), NO_BIAS, RELU),
    "repeated": lambda w: RepeatedLayer(2, 2, COLUMNS, np.zeros(2, np.int32), np.float32(w), np.float32(0), RELU),
    "shifted": lambda w: ShiftedLayer(
        3, 2, np.array([0, 2]), IDS, np.array([w, 1], np.float32), np.zeros(2, np.int32), IDS, NO_BIAS, RELU
    ),
}


@pytest.mark.parametrize("weights", SHORT)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("weight", [1 / 3, 0.0625, 1e-42])
def test_layers_of_every_kind_stay_what_they_are_unless_a_weight_vanishes(kind: str, weights: str, weight: float) -> None:
    layer: AnyLayer = LAYERS[kind](weight)
    network = sparsednn.Network.from_layers([layer], "all")
    found = with_weights(network, weights)
    expected = rounded(layer.to_scipy().toarray(), weights)
    assert found.layers[0].to_scipy().toarray().tobytes() == expected.tobytes()
    assert found.layers[0].nnz == np.count_nonzero(expected)
    assert found.bias_on == "all"
    if weight == 0.0625:  # both have it
        assert found is network
    elif expected[0, 0] != 0:
        assert type(found.layers[0]) is type(layer)
        assert layer.values.strides == found.layers[0].values.strides


def test_layers_that_share_weights_share_the_rounded_ones_too() -> None:
    values = np.array([1 / 3, 1 / 5], np.float32)
    layers = [Layer(2, 2, np.array([0, 1, 2]), IDS, values, NO_BIAS, RELU) for _ in range(3)]
    first, *others = with_weights(sparsednn.Network.from_layers(layers), "bfloat16").layers
    assert all(np.shares_memory(layer.values, first.values) for layer in others)


def test_float32_changes_nothing() -> None:
    network = of(1 / 3)
    assert with_weights(network, "float32") is network
