"""The generated networks are the published ones, and sizes that do not go together are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.data.radixnet import CHALLENGE_BIAS, ascending_order, challenge_bias
from sparsednn.network import Challenge, Layer


def slow_layer(neurons: int, number: int, radices: tuple[int, ...], dense_width: int = 16, seed: int = 5489) -> np.ndarray:
    """Layer `number` (from 1) as a dense pattern, straight from the definition."""
    m, (block, p) = math.prod(radices), divmod(number - 1, len(radices))
    base = np.zeros((m, m), np.int8)
    for c in range(m):
        for k in range(radices[p]):
            base[(c + k * math.prod(radices[:p])) % m, c] = 1
    pattern = np.kron(np.ones((dense_width, dense_width), np.int8), base)
    stream = np.random.RandomState(seed)
    perm = np.arange(neurons)
    for _ in range(block):
        perm = np.argsort(stream.random_sample(neurons), kind="stable")
    permuted = np.empty_like(pattern)
    for i in range(neurons):
        permuted[perm[i]] = pattern[i]
    return permuted


def columns_of(layer: Layer) -> np.ndarray:
    """Rows of each column's connections, shape (n_outputs, connections a column)."""
    return layer.indices.reshape(layer.n_outputs, -1)


@pytest.mark.parametrize(
    ("number", "entries"),
    [
        pytest.param(1, [(1, 1), (2, 1), (65, 1), (66, 1), (129, 1), (130, 1)], id="layer 1"),
        pytest.param(2, [(1, 1), (3, 1), (65, 1), (67, 1), (129, 1), (131, 1)], id="layer 2"),
    ],
)
def test_the_first_entries_are_the_published_ones(
    number: int, entries: list[tuple[int, int]], challenge_network: sparsednn.Network
) -> None:
    coo = challenge_network.layers[number - 1].to_scipy().tocoo()
    rows, columns = coo.coords
    assert [(int(r) + 1, int(c) + 1) for r, c in zip(rows[:6], columns[:6], strict=True)] == entries


def test_the_network_of_1024_neurons_and_120_layers_has_its_published_connections(challenge_network: sparsednn.Network) -> None:
    assert challenge_network.nnz == 3_932_160
    assert len(challenge_network.layers) == 120
    assert {(layer.n_inputs, layer.n_outputs) for layer in challenge_network.layers} == {(1024, 1024)}


def test_every_row_and_column_of_every_layer_has_32_connections(challenge_network: sparsednn.Network) -> None:
    for layer in challenge_network.layers:
        assert (np.diff(layer.indptr) == 32).all()
        assert (np.bincount(layer.indices, minlength=1024) == 32).all()


def test_connections_of_a_column_ascend_without_repeats(challenge_network: sparsednn.Network) -> None:
    for layer in challenge_network.layers:
        assert (np.diff(columns_of(layer), axis=1) > 0).all()


def test_every_weight_is_a_sixteenth(challenge_network: sparsednn.Network) -> None:
    for layer in challenge_network.layers:
        assert layer.values.dtype == np.float32
        assert layer.values.shape == layer.indices.shape
        assert (layer.values == 1 / 16).all()


def test_columns_that_are_64_apart_are_identical(challenge_network: sparsednn.Network) -> None:
    for layer in challenge_network.layers:
        assert np.array_equal(columns_of(layer), np.tile(columns_of(layer)[:64], (16, 1)))


def test_a_layer_has_64_distinct_columns_and_the_last_of_a_block_32(challenge_network: sparsednn.Network) -> None:
    """In the last layer of a block columns c and c + 32 have the same two base rows."""
    distinct = [len(np.unique(columns_of(layer), axis=0)) for layer in challenge_network.layers]
    assert distinct == [64, 64, 64, 64, 64, 32] * 20


def test_all_layers_of_a_block_share_a_permutation_that_no_other_block_has(challenge_network: sparsednn.Network) -> None:
    """The base patterns have only (c, c) in common, so just 16 connections of a column recur in all layers of a block."""
    rows = [frozenset(columns_of(layer)[5].tolist()) for layer in challenge_network.layers]
    recurring = [frozenset.intersection(*rows[first : first + 6]) for first in range(0, 120, 6)]
    assert [len(rows) for rows in recurring] == [16] * 20
    assert len(set(recurring)) == 20


def test_the_first_block_is_not_permuted(challenge_network: sparsednn.Network) -> None:
    for p in range(6):
        expected = [copy * 64 + row for copy in range(16) for row in (5, 5 + 2**p)]
        assert columns_of(challenge_network.layers[p])[5].tolist() == expected


@pytest.mark.parametrize("number", [1, 6, 7, 8, 12, 13, 120])
def test_layers_of_1024_neurons_equal_the_slow_construction(number: int, challenge_network: sparsednn.Network) -> None:
    expected = slow_layer(1024, number, (2,) * 6) / np.float32(16)
    assert np.array_equal(challenge_network.layers[number - 1].to_scipy().toarray(), expected)


def test_layer_9_of_4096_neurons_equals_the_slow_construction() -> None:
    layer = sparsednn.radixnet(4096, 16).layers[8]
    assert np.array_equal(layer.to_scipy().toarray() != 0, slow_layer(4096, 9, (2,) * 8) != 0)


def test_a_network_with_its_own_radices_equals_the_slow_construction(small_network: sparsednn.Network) -> None:
    for number, layer in enumerate(small_network.layers, start=1):
        expected = slow_layer(12, number, (2, 3), dense_width=2) * np.float32(0.25)
        assert np.array_equal(layer.to_scipy().toarray(), expected)


def test_own_radices_give_each_layer_its_own_degree(small_network: sparsednn.Network) -> None:
    assert [layer.nnz // 12 for layer in small_network.layers] == [4, 6, 4, 6]


def test_other_seeds_give_other_permutations_behind_the_same_first_block() -> None:
    one, other = sparsednn.radixnet(1024, 12), sparsednn.radixnet(1024, 12, seed=1)
    for number, (a, b) in enumerate(zip(one.layers, other.layers, strict=True), start=1):
        assert np.array_equal(a.indices, b.indices) == (number <= 6)
    assert np.array_equal(other.layers[7].to_scipy().toarray() != 0, slow_layer(1024, 8, (2,) * 6, seed=1) != 0)


def test_deeper_networks_begin_like_shallower_ones(challenge_network: sparsednn.Network) -> None:
    shallow = sparsednn.radixnet(1024, 24)
    for a, b in zip(shallow.layers, challenge_network.layers[:24], strict=True):
        assert np.array_equal(a.indices, b.indices)


@pytest.mark.parametrize(("neurons", "bias"), [(1024, -0.30), (4096, -0.35), (16384, -0.40), (65536, -0.45)])
def test_the_bias_is_the_published_one(neurons: int, bias: float) -> None:
    assert challenge_bias(neurons) == bias
    assert CHALLENGE_BIAS[neurons] == bias


def test_bias_and_activation_reach_the_layers(challenge_network: sparsednn.Network) -> None:
    assert challenge_network.bias_on == "nonzero"
    for layer in challenge_network.layers:
        assert layer.bias.dtype == np.float32
        assert layer.bias.shape == (1024,)
        assert (layer.bias == np.float32(-0.3)).all()
        assert (layer.activation.low, layer.activation.high) == (0, 32)


@pytest.mark.parametrize(
    ("layers", "options", "challenge"),
    [
        pytest.param(120, {}, Challenge(1024, 120), id="a published depth"),
        pytest.param(120, {"bias": -0.3, "radices": [2] * 6}, Challenge(1024, 120), id="a published network spelt out"),
        pytest.param(114, {}, None, id="another depth"),
        pytest.param(120, {"seed": 1}, None, id="another seed"),
        pytest.param(120, {"bias": -0.2}, None, id="another bias"),
        pytest.param(120, {"weight": 0.125}, None, id="another weight"),
        pytest.param(120, {"radices": [4, 4, 4]}, None, id="other radices"),
        pytest.param(120, {"dense_width": 32}, None, id="another dense width"),
    ],
)
def test_only_the_published_networks_count_as_the_challenges(layers: int, options: Any, challenge: Challenge | None) -> None:
    assert sparsednn.radixnet(1024, layers, **options).challenge == challenge


OWN = {"radices": (2, 3), "dense_width": 2, "bias": -0.1}


@pytest.mark.parametrize(
    ("neurons", "layers", "options", "message"),
    [
        pytest.param(1024, 100, {}, "layers=100: .*blocks of 6 layers; nearest legal: 102", id="too few layers for a block"),
        pytest.param(1024, 122, {}, "layers=122: .*blocks of 6 layers; nearest legal: 120", id="too many layers for a block"),
        pytest.param(1024, 1, {}, "layers=1: .*nearest legal: 6", id="less than one block"),
        pytest.param(1024, 0, {}, "layers=0: .*nearest legal: 6", id="no layers"),
        pytest.param(1024, -6, {}, "layers=-6: .*nearest legal: 6", id="a negative number of layers"),
        pytest.param(12, 3, OWN, "layers=3: .*blocks of 2 layers; nearest legal: 4", id="own radices have their own blocks"),
        pytest.param(1000, 6, {}, "neurons=1000: must be dense_width=16 times a power of 2", id="neurons are no power of 2"),
        pytest.param(0, 6, {}, "neurons=0", id="no neurons"),
        pytest.param(16, 6, {}, "neurons=16: .*of at least 2", id="a product of radices of one"),
        pytest.param(13, 2, OWN, r"neurons=13: .*\[2, 3\] times dense_width 2 is 12", id="radices do not make the neurons"),
        pytest.param(2048, 7, {}, "neurons=2048: no bias is published", id="no published bias"),
        pytest.param(12, 2, {**OWN, "bias": None}, "neurons=12: no bias is published", id="no published bias for own radices"),
        pytest.param(1024, 6, {"weight": 0.0}, "weight=0.0: must be finite in float32, and not 0", id="a weight of zero"),
        pytest.param(1024, 6, {"weight": 1e-60}, "weight=1e-60", id="a weight that is zero in float32"),
        pytest.param(1024, 6, {"weight": math.nan}, "weight=nan: a number is needed", id="a weight that is NaN"),
        pytest.param(1024, 6, {"weight": math.inf}, "weight=inf: must be finite", id="an infinite weight"),
        pytest.param(1024, 6, {"weight": 1e39}, "weight=1e[+]39: must be finite", id="a weight beyond float32"),
        pytest.param(1024, 6, {"bias": math.nan}, "bias=nan", id="a bias that is NaN"),
        pytest.param(1024, 6, {"bias": -math.inf}, "bias=-inf", id="an infinite bias"),
        pytest.param(1024, 6, {"bias": -1e39}, "bias=-1e[+]39", id="a bias beyond float32"),
        pytest.param(1024, 6, {"dense_width": 0}, "dense_width=0", id="a dense width of zero"),
        pytest.param(12, 2, {**OWN, "dense_width": 0}, "dense_width=0: must be at least 1", id="no dense width, own radices"),
        pytest.param(12, 3, {**OWN, "radices": (2, 3, 1)}, r"radices=\[2, 3, 1\]: .*at least 2", id="a radix of one"),
        pytest.param(12, 2, {**OWN, "radices": ()}, r"radices=\[\]: at least one", id="no radices"),
    ],
)
def test_what_makes_no_network_is_refused(neurons: int, layers: int, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        sparsednn.radixnet(neurons, layers, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layers", range(1, 25))
def test_the_nearest_legal_number_of_layers_is_legal_and_near(layers: int) -> None:
    if layers % 6 == 0:
        assert len(sparsednn.radixnet(1024, layers).layers) == layers
        return
    with pytest.raises(ValueError, match="nearest legal") as caught:
        sparsednn.radixnet(1024, layers)
    near = int(str(caught.value).rsplit(" ", 1)[1])
    assert near % 6 == 0
    assert all(abs(near - layers) <= abs(other - layers) for other in range(6, 31, 6))


def test_a_network_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 10**8)
    monkeypatch.setattr("sparsednn.system.memory.UNASKED_BYTES", 0)
    with pytest.raises(MemoryError, match="a network of 3,932,160 connections needs .*; use fewer neurons or layers"):
        sparsednn.radixnet(1024, 120)


def test_draws_are_ordered_as_by_a_stable_sort() -> None:
    rng = np.random.default_rng(2)
    for draws in (rng.random(5000), rng.integers(0, 50, 5000) / 50, np.zeros(3)):
        assert np.array_equal(ascending_order(draws), np.argsort(draws, kind="stable"))
