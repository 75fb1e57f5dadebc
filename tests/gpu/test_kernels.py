"""The text of the CUDA kernels, run on the host: bit for bit what the naive oracle finds, on small and odd shapes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.kernels import dense
from backends.cupy_gpu.kernels.dense import DenseBlock, padded
from backends.cupy_gpu.kernels.fused import FusedKernel
from backends.cupy_gpu.kernels.source import TILE, layer_kernel
from backends.cupy_gpu.layout import packing
from backends.cupy_gpu.layout.inputs import InputRows
from backends.cupy_gpu.layout.packing import pack_network
from backends.cupy_gpu.run.worker import Lane
from sparsednn.backend import KernelOptions
from tests import oracle
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")

ACTIVATIONS = [sparsednn.relu(), sparsednn.clipped_relu(1.5), sparsednn.identity()]


def lane(n: int) -> Lane:
    return Lane(HostDevice(), padded(n, by_instance=True))


def block_of(on: Lane, rows: np.ndarray, by_instance: bool) -> DenseBlock:
    n, n_neurons = rows.shape
    x = on.device.empty(n_neurons * padded(n, by_instance=by_instance), np.float32)
    block = DenseBlock(x, n_neurons=n_neurons, n=n, n_padded=padded(n, by_instance=by_instance), by_instance=by_instance)
    dense.fill(on, block, InputRows.all_of(sp.csr_array(rows)))
    return block


def values(block: DenseBlock) -> np.ndarray:
    """The activations, instance by instance."""
    x = np.asarray(block.x[: block.size])
    return x.reshape(block.n_neurons, -1).T[: block.n] if block.by_instance else x.reshape(block.n, -1)


@pytest.mark.parametrize(
    ("wide", "uniform", "staged"),
    [
        pytest.param(*v, id=layer_kernel(wide=v[0], uniform=v[1], staged=v[2]))
        for v in product([False, True], [False, True], [False, True])
    ],
)
@pytest.mark.parametrize(("n_inputs", "n_outputs", "n"), [(1, 1, 1), (33, 31, 127), (50, 65, 129), (7, 200, 300)])
@pytest.mark.parametrize("bias_on", ["nonzero", "all"])
def test_the_fused_kernel_gives_the_bits_of_the_oracle(
    wide: bool, uniform: bool, staged: bool, n_inputs: int, n_outputs: int, n: int, bias_on: str, rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Every variant, with columns of all lengths (and none), outputs that are cut off, and instances beyond the last tile."""
    monkeypatch.setattr(packing, "SHARED_BYTES", packing.SHARED_BYTES if staged else 0)
    monkeypatch.setattr(packing, "REUSE", 0)
    w = np.where(
        rng.random((n_inputs, n_outputs)) < rng.random(n_outputs), 1 if uniform else rng.normal(size=(n_inputs, n_outputs)), 0
    )
    w, bias = (w / 3).astype(np.float32), rng.normal(size=n_outputs).astype(np.float32)
    rows = np.where(rng.random((n, n_inputs)) < 0.6, rng.normal(size=(n, n_inputs)), 0).astype(np.float32)
    activation = ACTIVATIONS[n % 3]
    network = sparsednn.Network([sp.csc_array(w)], bias=[bias], bias_on=bias_on, activation=activation)  # type: ignore[arg-type]
    monkeypatch.setattr(packing, "WIDE", 0 if wide else 2**16)
    packed = pack_network(network, KernelOptions(columns="none", order="given"), fused=True)
    if packed.layers[0].nnz:
        assert packed.layers[0].kernel == layer_kernel(wide=wide, uniform=uniform, staged=staged)
    on, kernel = lane(n), FusedKernel()
    block = block_of(on, rows, True)
    y, flags = on.device.empty(n_outputs * block.n_padded, np.float32), on.device.empty(2 * block.n_padded, np.uint8)
    on.device.zero(flags, on.stream)
    both = (flags[: block.n_padded], flags[block.n_padded :])
    made, slices = on.upload(packed.store), (0, len(packed.layers[0].slice_work) - 1)
    count = kernel.compute(on, packed, packed.layers[0], made, block, y, both, slices)
    found = values(DenseBlock(y, n_neurons=n_outputs, n=n, n_padded=block.n_padded, by_instance=True))
    expected = oracle.infer([w], [bias], bias_on, [(activation.low, activation.high)], rows)
    assert (found + np.float32(0)).tobytes() == (expected + np.float32(0)).tobytes()
    assert np.array_equal(both[0][:n] != 0, expected.any(axis=1))
    assert np.array_equal(both[1][:n] != 0, (expected != activation.high).any(axis=1))
    assert count == n * np.count_nonzero(w)


@pytest.mark.parametrize("n_members", [1, 2, 3, 7])
def test_members_shares_cover_all_slices_once(n_members: int, rng: np.random.Generator) -> None:
    weights = sp.csc_array(rng.random((60, 333)) < np.linspace(0, 1, 333))
    packed = pack_network(sparsednn.Network([weights]), KernelOptions(columns="none"), fused=True)
    layer, kernel = packed.layers[0], FusedKernel()
    shares = [kernel.share(layer, member, n_members) for member in range(n_members)]
    assert shares[0][0] == 0
    assert shares[-1][1] == len(layer.slice_work) - 1
    assert all(one[1] == other[0] for one, other in pairwise(shares))
    work = [int(layer.slice_work[b] - layer.slice_work[a]) for a, b in shares]
    assert max(work) <= layer.nnz / n_members + np.diff(layer.slice_work).max()


@pytest.mark.parametrize("by_instance", [True, False], ids=["neuron by neuron", "instance by instance"])
@pytest.mark.parametrize(("n", "n_neurons"), [(1, 1), (129, 1), (1, 40), (200, 33), (40, 300)])
def test_instances_come_in_are_picked_compared_and_added_up(
    by_instance: bool, n: int, n_neurons: int, rng: np.random.Generator
) -> None:
    rows = np.where(rng.random((n, n_neurons)) < 0.5, rng.normal(size=(n, n_neurons)), 0).astype(np.float32)
    rows[n // 2] = rows[0]
    on = lane(n)
    block = block_of(on, rows, by_instance)
    assert np.array_equal(values(block), rows)
    keep = np.flatnonzero(rng.random(n) < 0.7)
    if keep.size:
        picked = dense.pick(on, block, keep, on.device.empty(n_neurons * padded(n, by_instance=by_instance), np.float32))
        assert np.array_equal(values(picked), rows[keep])
        rest = np.asarray(picked.x[: picked.size])
        assert not by_instance or not rest.reshape(n_neurons, -1)[:, len(keep) :].any(), "what fills up a tile is zero"
    digests = np.asarray(dense.digests(on, block))
    assert len(np.unique(digests)) == len(np.unique(rows.view(np.uint32), axis=0))
    others = rng.integers(0, n, n)
    assert np.array_equal(dense.same(on, block, np.arange(n), others), (rows == rows[others]).all(axis=1))
    last = rng.permutation(n_neurons).astype(np.int32)
    expected = np.zeros(n)
    for j in last:
        expected += rows[:, j].astype(np.float64)
    assert np.array_equal(dense.sums(on, block, last), expected)
    found = sp.vstack(list(dense.outputs(on, block, last, on.device.empty(dense.output_floats(block), np.float32)))).toarray()
    assert np.array_equal(found, rows[:, last])


def test_minus_zero_and_nothing_are_different_bits_and_equal_numbers() -> None:
    """Instances are merged by their bits: 0 and -0 stay apart."""
    on = lane(2)
    block = block_of(on, np.array([[0.0, 1.0], [0.0, 1.0]], np.float32), True)
    np.asarray(block.x)[1] = -0.0
    assert dense.same(on, block, np.array([0]), np.array([1])).tolist() == [False]


def test_the_last_tile_is_never_read_beyond_its_memory() -> None:
    assert [padded(n, by_instance=True) for n in (0, 1, TILE, TILE + 1)] == [TILE, TILE, TILE, 2 * TILE]
    assert padded(5, by_instance=False) == 5


def test_arguments_of_the_wrong_type_are_found(rng: np.random.Generator) -> None:
    """The host's launcher is strict: what CUDA would take for something else fails here."""
    block = block_of(lane(3), np.ones((3, 2), np.float32), True)
    with pytest.raises(AssertionError, match="n is <class 'int'>, the kernel takes int"):
        host_kernels.call("sum_rows", (1,), (256,), (block.x, *block.strides, 3, block.x, np.int32(1), block.x), 0)
    with pytest.raises(AssertionError, match="takes 7 arguments, not 1"):
        host_kernels.call("sum_rows", (1,), (256,), (replace(block).x,), 0)
