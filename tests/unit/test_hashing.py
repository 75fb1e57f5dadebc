"""The bucket permutation applied to networks and inputs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsednn
from sparsednn.arguments.arrays import canonical_inputs
from sparsednn.network import Layer
from sparsednn.results.measures import column_imbalance
from sparsednn.rows.hashing import hash_neurons
from sparsednn.rows.partition import hashed_order, hashed_positions
from tests.networks import Case, cases

CASES = cases(narrowest=100, widest=600, most_rows=8, most_layers=3)
BUCKETS = st.integers(1, 2)


def column(layer: Layer, number: int) -> tuple[list[int], list[float]]:
    span = slice(layer.indptr[number], layer.indptr[number + 1])
    return layer.indices[span].tolist(), layer.values[span].tolist()


def orders(network: sparsednn.Network, buckets: int) -> list[np.ndarray]:
    """The original id of each neuron's place, before each layer and after the last."""
    widths = [network.n_inputs, *(layer.n_outputs for layer in network.layers)]
    return [*(hashed_order(width, buckets) for width in widths[:-1]), np.arange(widths[-1])]


@given(case=CASES, buckets=BUCKETS)
def test_every_weight_bias_and_input_is_where_the_permutation_says(case: Case, buckets: int) -> None:
    network, inputs = hash_neurons(case.network, canonical_inputs(case.inputs, case.network.n_inputs), buckets)
    order = orders(case.network, buckets)
    assert np.array_equal(inputs.toarray(), case.inputs.toarray()[:, order[0]])
    for old, new, (before, after) in zip(case.network.layers, network.layers, pairwise(order), strict=True):
        assert np.array_equal(new.to_scipy().toarray(), old.to_scipy().toarray()[np.ix_(before, after)])
        assert np.array_equal(new.bias, old.bias[after])
        assert new.activation == old.activation
        assert (new.indptr.dtype, new.indices.dtype, new.values.dtype) == (np.int64, np.int32, np.float32)
    assert network.bias_on == case.network.bias_on


@given(case=CASES, buckets=BUCKETS)
def test_entries_of_a_column_keep_the_order_of_the_original_ids_and_so_it_can_be_undone(case: Case, buckets: int) -> None:
    network, inputs = hash_neurons(case.network, canonical_inputs(case.inputs, case.network.n_inputs), buckets)
    order = orders(case.network, buckets)
    assert inputs.has_sorted_indices
    for old, new, (before, after) in zip(case.network.layers, network.layers, pairwise(order), strict=True):
        for number in range(new.n_outputs):
            ids, values = column(new, number)
            assert (before[ids].tolist(), values) == column(old, int(after[number]))


def test_outputs_of_the_last_layer_stay_where_they_are(challenge_network: sparsednn.Network) -> None:
    last = challenge_network.layers[-1]
    network, _ = hash_neurons(challenge_network, sp.csr_array((1, 1024), dtype=np.float32), 1)
    assert np.array_equal(network.layers[-1].indptr, last.indptr)
    expected = hashed_positions(1024, 1)[last.indices]
    assert np.array_equal(network.layers[-1].indices, expected)
    assert not np.array_equal(network.layers[-1].indices, last.indices)


def test_a_challenge_network_stays_one_and_its_equal_weights_take_no_memory(challenge_network: sparsednn.Network) -> None:
    rows = sp.csr_array(np.ones((2, 1024), np.float32))
    before = [layer.indices.copy() for layer in challenge_network.layers[:3]]
    network, inputs = hash_neurons(challenge_network, rows, 1)
    assert network.challenge == challenge_network.challenge
    assert all(layer.values.strides == layer.bias.strides == (0,) for layer in network.layers)
    assert all(np.array_equal(a, layer.indices) for a, layer in zip(before, challenge_network.layers, strict=False))
    assert not np.shares_memory(inputs.indices, rows.indices)


@pytest.mark.parametrize(
    ("n", "buckets", "moved"),
    [
        pytest.param(255, 1, 0, id="one a part: nothing moves"),
        pytest.param(300, 1, 256, id="ids beyond the parts stay"),
        pytest.param(300, 2, 0, id="twice the parts"),
        pytest.param(700, 2, 512, id="ids beyond twice the parts stay"),
    ],
)
def test_ids_beyond_the_parts_stay(n: int, buckets: int, moved: int) -> None:
    eye = sp.csr_array(np.eye(n, dtype=np.float32))
    network, inputs = hash_neurons(sparsednn.Network([eye, eye]), eye, buckets)
    assert np.array_equal(inputs.toarray().argmax(axis=1), hashed_positions(n, buckets))
    changed = np.flatnonzero(inputs.indices != np.arange(n))
    assert len(changed) == 0 if moved == 0 else (len(changed) > 0 and changed.max() < moved)
    assert np.array_equal(network.layers[0].indices, np.arange(n))  # rows and columns moved alike


def test_hashing_evens_out_columns_that_differ_by_region() -> None:
    """The first half of the outputs have all the connections."""
    weights = np.zeros((512, 512))
    weights[:, :256] = 1
    network = sparsednn.Network([sp.csr_array(weights), sp.csr_array(np.eye(512))])
    hashed, _ = hash_neurons(network, sp.csr_array((1, 512), dtype=np.float32), 1)
    assert column_imbalance(network.outline(), 4) == pytest.approx((2 + 1) / 2)
    assert column_imbalance(hashed.outline(), 4) == pytest.approx(1)


def test_too_little_memory_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 1000)
    monkeypatch.setattr("sparsednn.system.memory.UNASKED_BYTES", 0)
    with pytest.raises(MemoryError, match=r"hashing the neurons of .* connections needs .*hashing=none or input"):
        hash_neurons(small_network, small_inputs, 1)
