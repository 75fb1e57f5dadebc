"""Layers of shifted templates: what they stand for, what they count, and how they are told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import sparsednn
from backends.common.column_merging import MergedColumns
from backends.numba_cpu.layout.sliced_network import direct_size, packed
from backends.numba_cpu.layout.slices import READ_BEYOND
from sparsednn.backend import KernelOptions
from sparsednn.network import ShiftedLayer
from tests import oracle
from tests.networks import shifted_network


def dense() -> list[np.ndarray]:
    """The two layers, written out."""
    first, second = np.zeros((8, 12), np.float32), np.zeros((12, 3), np.float32)
    for place in range(6):
        first[place : place + 3, place] = 0.5, -1, 0.25
        first[place : place + 3, 6 + place] = 2, 0, 0.125
    second[[0, 6], 0] = second[[5, 11], 2] = 1, -0.5
    return [first, second]


def test_a_layer_stands_for_its_columns() -> None:
    network = shifted_network()
    for layer, matrix in zip(network.layers, dense(), strict=True):
        full = layer.expanded()
        assert layer.to_scipy().toarray().tolist() == matrix.tolist()
        assert layer.nnz == full.nnz == np.count_nonzero(matrix)
        assert layer.indptr.tolist() == full.indptr.tolist()
        assert layer.indices.tolist() == full.indices.tolist()
        assert layer.values.tobytes() == full.values.tobytes()
    assert [layer.n_stored for layer in network.layers] == [5, 2]
    assert network.outline().nnz == network.nnz == 34


def test_the_naive_oracle_agrees(rng: np.random.Generator) -> None:
    network, x = shifted_network(), rng.normal(size=(5, 8)).astype(np.float32)
    limits = [(0, np.inf), (-np.inf, np.inf)]
    naive = oracle.infer(dense(), [layer.bias for layer in network.layers], "all", limits, x)
    with sparsednn.compile(network, threads=1) as compiled:
        assert compiled(x).tolist() == naive.tolist()


@pytest.mark.parametrize("name", ["starts", "relative", "weights", "template", "offset", "bias"])
def test_fingerprints_see_every_array(name: str) -> None:
    network = shifted_network()
    layer = network.layers[0]
    assert isinstance(layer, ShiftedLayer)
    array = getattr(layer, name).copy()
    array[1] += 1
    other = sparsednn.Network.from_layers([replace(layer, **{name: array}), network.layers[1]], "all")
    assert other.fingerprint() != network.fingerprint() == shifted_network().fingerprint()


def test_neurons_before_and_in_shifted_layers_are_not_merged() -> None:
    """All columns of the first layer are the same; two of the last are, and only they become one."""
    same = sparsednn.Network([np.ones((4, 8), np.float32)], bias=[np.zeros(8)]).layers[0]
    last = sparsednn.Network([np.ones((3, 2), np.float32)], bias=[np.zeros(2)]).layers[0]
    network = sparsednn.Network.from_layers([same, *shifted_network().layers, last], "all")
    merged = MergedColumns(network)
    assert [layer.n_outputs for layer in merged.layers()] == [8, 12, 3, 1]
    assert merged.last.tolist() == [0, 0]


def test_slices_are_stored_once_and_their_size_is_known_before() -> None:
    """One template at 40 places: 16 of them fill a slice, which serves 32; another one has the last 8."""
    layer = shifted_network().layers[0]
    assert isinstance(layer, ShiftedLayer)
    places = np.arange(40, dtype=np.int32)
    long = replace(layer, n_inputs=42, n_outputs=40, template=0 * places, offset=places, bias=np.zeros(40, np.float32))
    network, options = sparsednn.Network.from_layers([long], "all"), KernelOptions("auto", columns="none")
    slices = packed(network, options).slices
    assert slices.parts[:, 2].tolist() == [0, 16, 0], "the shifts"
    assert slices.has_shifts
    assert not packed(sparsednn.Network.from_layers([long.expanded()], "all"), options).slices.has_shifts
    size = direct_size(network, options)
    assert size.connections == 3 * 40
    assert size.n_bytes == 6 * (len(slices.ids) - READ_BEYOND) == 6 * 2 * 3 * 16
