"""Networks in the layouts of the GPU kernels: what is packed is what was there, in the order in which it is added up."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.kernels.source import SLICE
from backends.cupy_gpu.layout import packing
from backends.cupy_gpu.layout.packed import PackedLayer, PackedNetwork
from backends.cupy_gpu.layout.packing import pack_network
from sparsednn.backend import KernelOptions


def part(packed: PackedNetwork, layer: PackedLayer, name: str, dtype: Any, n: int) -> np.ndarray:
    """One array of a layer."""
    begin = layer.at + layer.parts[name]
    return packed.store[begin : begin + n * np.dtype(dtype).itemsize].view(dtype)


def columns(packed: PackedNetwork, layer: PackedLayer) -> list[list[tuple[int, float]]]:
    """Inputs and weights of each output, in the order of the terms, read as the kernel reads them."""
    n_slices, ids_of = -(-layer.n_outputs // SLICE), np.uint32 if "_32" in layer.kernel else np.uint16
    slices = part(packed, layer, "slices", np.int64, n_slices + 1)
    degrees = part(packed, layer, "degrees", np.int32, n_slices * SLICE)
    ids = part(packed, layer, "ids", ids_of, int(slices[-1]))
    found = []
    for output in range(layer.n_outputs):
        slice_, lane = divmod(output, SLICE)
        at = slices[slice_] + np.arange(degrees[output]) * SLICE + lane
        inputs, weights = ids[at].astype(int), np.full(len(at), layer.weight, np.float32)
        if "staged" in layer.kernel:
            maps = part(packed, layer, "maps", np.int32, n_slices + 1)
            inputs = part(packed, layer, "map", ids_of, int(maps[-1]))[maps[slice_] + inputs].astype(int)
        if "uniform" not in layer.kernel:
            weights = part(packed, layer, "weights", np.float32, int(slices[-1]))[at]
        found.append(list(zip(inputs.tolist(), weights.tolist(), strict=True)))
    return found


def random_network(rng: np.random.Generator, widths: list[int], uniform: bool) -> sparsednn.Network:
    weights = []
    for n, m in itertools.pairwise(widths):
        mask = rng.random((n, m)) < 0.2
        weights.append(sp.csc_array(np.where(mask, 0.5 if uniform else rng.normal(size=(n, m)), 0).astype(np.float32)))
    return sparsednn.Network(weights, bias=[rng.normal(size=w.shape[1]) for w in weights])


@pytest.mark.parametrize("uniform", [True, False], ids=["one weight", "weights"])
@pytest.mark.parametrize("shared", [0, packing.SHARED_BYTES], ids=["not staged", "staged where it pays"])
def test_sliced_ell_has_every_connection_in_its_order(
    uniform: bool, shared: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "SHARED_BYTES", shared)
    network = random_network(rng, [50, 70, 33, 1, 64], uniform)
    packed = pack_network(network, KernelOptions(columns="none", order="given"), fused=True)
    assert any("staged" in layer.kernel for layer in packed.layers) == (shared > 0)
    for layer, as_packed in zip(network.layers, packed.layers, strict=True):
        assert ("uniform" in as_packed.kernel) == uniform
        expected = [
            list(zip(layer.indices[a:b].tolist(), layer.values[a:b].tolist(), strict=True))
            for a, b in zip(layer.indptr, layer.indptr[1:], strict=False)
        ]
        assert columns(packed, as_packed) == expected
        assert np.array_equal(part(packed, as_packed, "bias", np.float32, layer.n_outputs), layer.bias)
        assert as_packed.slice_work[-1] == as_packed.nnz == layer.nnz


def test_outputs_that_share_inputs_lie_together_and_the_next_layer_knows_where(rng: np.random.Generator) -> None:
    network = random_network(rng, [40, 60, 20], False)
    packed = pack_network(network, KernelOptions(columns="none", order="shared_inputs"), fused=True)
    first, second = (columns(packed, layer) for layer in packed.layers)
    firsts = [[i for i, _ in terms][:3] for terms in first]
    assert firsts == sorted(firsts)
    one, two = (layer.to_scipy().toarray() for layer in network.layers)
    place = [next(j for j in range(60) if one[:, j][one[:, j] != 0].tolist() == [w for _, w in terms]) for terms in first]
    for position, j in enumerate(packed.last):
        terms = second[j]
        inputs = [place[i] for i, _ in terms]
        assert inputs == np.flatnonzero(two[:, position]).tolist(), "in the order of the original ids"


def test_columns_that_are_the_same_are_there_once() -> None:
    network = sparsednn.radixnet(1024, 6)
    whole, merged = (pack_network(network, KernelOptions(columns=columns), fused=True) for columns in ("none", "merge"))
    assert [layer.n_outputs for layer in whole.layers] == [1024] * 6
    assert [layer.n_outputs for layer in merged.layers] == [64] * 5 + [32], "the last layer's radix is another"
    assert merged.store.nbytes < whole.store.nbytes / 5, "of 16 times as many outputs, four at a time have the same ids"
    assert len(merged.last) == len(whole.last) == 1024


def test_layers_that_are_the_same_are_there_once(rng: np.random.Generator) -> None:
    weights = sp.csc_array(rng.random((30, 30)) < 0.3, dtype=np.float32)
    for fused in (True, False):
        packed = pack_network(sparsednn.Network([weights] * 4), KernelOptions(columns="none", order="given"), fused=fused)
        assert packed.store.nbytes == packed.layers[0].n_bytes
        assert [layer.at for layer in packed.layers] == [0] * 4


def test_networks_wider_than_sixteen_bits_have_wider_ids() -> None:
    weights = sp.csc_array((np.ones(2, np.float32), ([0, 69_999], [0, 1])), shape=(70_000, 2))
    packed = pack_network(sparsednn.Network([weights]), KernelOptions(), fused=True)
    assert packed.layers[0].kernel.startswith("layer_32")
    assert columns(packed, packed.layers[0]) == [[(0, 1.0)], [(69_999, 1.0)]]


def test_cusparse_gets_canonical_matrices_even_where_merged_columns_repeat_inputs() -> None:
    """Two inputs of the second layer are the same column of the first: one connection with the sum of their weights."""
    network = sparsednn.Network([sp.csc_array([[1.0, 1.0], [2.0, 2.0]]), sp.csc_array([[3.0], [4.0]])])
    packed = pack_network(network, KernelOptions(columns="merge"), fused=False)
    second = packed.layers[1]
    assert (second.n_inputs, second.nnz) == (1, 1)
    assert part(packed, second, "values", np.float32, 1).tolist() == [7.0]


def test_a_network_too_large_for_the_host_is_refused(monkeypatch: pytest.MonkeyPatch, small_network: sparsednn.Network) -> None:
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 0)
    monkeypatch.setattr("sparsednn.system.memory.UNASKED_BYTES", 0)
    with pytest.raises(MemoryError, match="GPU kernels' layout needs .*use fewer neurons or layers"):
        pack_network(small_network, KernelOptions(), fused=True)


def test_a_packed_network_is_plain_data(small_network: sparsednn.Network) -> None:
    packed = pack_network(small_network, KernelOptions(), fused=True)
    again = pickle.loads(pickle.dumps(packed))
    assert np.array_equal(again.store, packed.store)
    assert [layer.kernel for layer in again.layers] == [layer.kernel for layer in packed.layers]
