"""Backends that bring their own threads: what they do with blocks, threads, pinning and missing packages."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.common.row_results import checkpoints
from backends.peers import base as peers
from backends.peers.base import LayerwisePeer
from backends.peers.blocks import BlockGroup, Pool, with_bias
from sparsednn.backend import DONE, SCORE, Control, KernelOptions, Outcome, Team, load_backend
from tests.backends import nearly_equal, of

PEERS = {
    "graphblas": "graphblas", "mkl": "mkl", "torch": "torch",
    "torch_dense": "torch", "onnxruntime": "onnxruntime",
}  # fmt: skip
"""Peers, and the package that each needs."""


class ScipyPeer(LayerwisePeer):
    """A library with threads of its own, played by scipy, so that what peers share is tested where none is installed."""

    name = "scipy_peer"
    block_rows = 4
    entry_bytes = 8

    def __init__(self) -> None:
        self.n_threads = 7
        self.widths: list[int] = []

    def weights(self, matrix: sp.csr_array) -> sp.csr_array:
        return matrix

    def multiply(self, weights: sp.csr_array, block: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.n_threads == 3
        self.widths.append(block.shape[1])
        out[:] = weights @ block
        return block, out

    def set_threads(self, n_threads: int) -> int:
        before, self.n_threads = self.n_threads, n_threads
        return before


def test_activations_that_peers_do_not_know_are_refused_by_name() -> None:
    network = sparsednn.Network([sp.eye_array(2)] * 2, activation=[sparsednn.relu(), sparsednn.leaky_relu()])
    refused = "backend=scipy_peer: layer 2 has activation 'leaky_relu', but only limits for a whole layer are known there"
    with pytest.raises(ValueError, match=refused):
        ScipyPeer().prepare(network, KernelOptions("auto"), 1)


@pytest.mark.parametrize("bias_on", ["nonzero", "all"])
@pytest.mark.parametrize("bias", [-0.3, 0.2])
@pytest.mark.parametrize("rows", ["none", "prune"])
def test_blocks_that_shrink_and_join_give_what_the_reference_gives(
    bias_on: str, bias: float, rows: str, rng: np.random.Generator
) -> None:
    weights = [sp.random_array((n, m), density=0.3, rng=rng) - sp.random_array((n, m), density=0.3, rng=rng)
               for n, m in ((20, 30), (30, 10), (10, 25), (25, 25), (25, 8))]  # fmt: skip
    network = sparsednn.Network(weights, bias=bias, bias_on=bias_on)  # type: ignore[arg-type]
    inputs = sp.random_array((41, 20), density=0.1, format="csr", rng=rng)
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", output=True)
    backend = ScipyPeer()
    result = sparsednn.infer(network, inputs, backend=backend, threads=3, rows=rows, output=True, hashing="input")
    assert nearly_equal(result.output, expected.output)
    assert np.array_equal(result.categories, expected.categories)
    assert (result.record["threads"], len(result.record["workers"])) == (3, 1)
    assert backend.n_threads == 7, "the library's threads are as they were"
    assert max(backend.widths) <= 4


@pytest.mark.parametrize("bias_on", ["nonzero", "all"])
@pytest.mark.parametrize("name", of([("numpy_dense",), ("torch_dense",), ("onnxruntime",)]))
def test_dense_layers_give_what_the_reference_gives(name: str, bias_on: str, rng: np.random.Generator) -> None:
    shapes = ((20, 30), (30, 10), (10, 25), (25, 8))
    weights = [sp.random_array(shape, density=0.4, rng=rng) - sp.random_array(shape, density=0.3, rng=rng) for shape in shapes]
    activations = ["relu", "identity", "clip(0,0.7)", "clip(-0.5,0.4)"]
    network = sparsednn.Network(weights, bias=0.2, bias_on=bias_on, activation=activations)  # type: ignore[arg-type]
    inputs = sp.random_array((41, 20), density=0.1, format="csr", rng=rng)
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", output=True)
    result = sparsednn.infer(network, inputs, backend=name, threads=2, block_rows=16, output=True)
    assert nearly_equal(result.output, expected.output)
    assert result.record["kernel"] == "udc_udc"
    if bias_on == "all":
        assert result.record["performed_edges"] == 41 * network.nnz


def test_dead_instances_are_not_multiplied_and_what_is_left_is_joined() -> None:
    """Of each four instances one survives the first layer: sixteen come down to one block."""
    network = sparsednn.Network([sp.csr_array(np.eye(2))] * 5, bias=-1.0)
    inputs = np.ones((16, 2))
    inputs[::4] = 9
    backend = ScipyPeer()
    result = sparsednn.infer(network, inputs, backend=backend, threads=3)
    assert result.categories.tolist() == [1, 5, 9, 13]
    assert backend.widths[1:] == [4] * 8, "after a block to warm up: four blocks through a layer, then one through four"
    assert result.record["performed_edges"] == 16 * 2 + 4 * 4 * 2
    assert result.record["optimizations"]["rows"] == "prune"


def test_progress_counts_every_instance_through_every_layer() -> None:
    network = sparsednn.Network([sp.csr_array(np.eye(2))] * 5, bias=-1.0)
    backend, control = ScipyPeer(), Control.for_workers(1)
    plan = backend.prepare(network, KernelOptions(), 3)
    group = backend.open(plan, sp.csr_array(np.arange(20, dtype=np.float32).reshape(10, 2)), np.arange(10), 0, output=False)
    control.call(0, 0)
    team, layers = Team.of((0,)), []
    while backend.run(plan, group, control, team, 0) is Outcome.CALLED:
        layers.append(int(control.progress[0, SCORE]))
    assert len(layers) > 3, "a called leader returns after a step"
    assert layers == sorted(layers)
    assert control.progress[0, [DONE, SCORE]].tolist() == [10 * 5, 5]
    control.request_stop()
    again = backend.open(plan, sp.csr_array(np.ones((1, 2), np.float32)), np.arange(1), 0, output=False)
    assert backend.run(plan, again, control, team, 0) is Outcome.STOPPED


def test_pinning_is_refused_since_all_threads_would_share_a_core(small_network: sparsednn.Network) -> None:
    with pytest.raises(ValueError, match=r"pin=true: backend=scipy_peer brings its own threads"):
        sparsednn.infer(small_network, np.ones((2, 12)), backend=ScipyPeer(), threads=3, pin=True)


def test_teams_are_refused(small_network: sparsednn.Network) -> None:
    backend = ScipyPeer()
    plan = backend.prepare(small_network, KernelOptions(), 3)
    group = backend.open(plan, sp.csr_array((2, 12), dtype=np.float32), np.arange(2), 0, output=False)
    with pytest.raises(ValueError, match="backend=scipy_peer has no teams"):
        backend.run(plan, group, Control.for_workers(2), Team.of((0, 1)), 0)


@pytest.mark.parametrize("scheduler", ["model", "data_then_model", "manager_worker", "work_stealing"])
def test_schedulers_that_need_workers_are_refused(scheduler: str, small_network: sparsednn.Network) -> None:
    with pytest.raises(ValueError, match=f"scheduler={scheduler} does not go with kernel=udc_csc .*legal: data"):
        sparsednn.infer(small_network, np.ones((2, 12)), backend=ScipyPeer(), scheduler=scheduler)


@pytest.mark.parametrize(("name", "package"), PEERS.items())
def test_a_peer_whose_package_is_missing_names_the_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(asked: str) -> None:
        raise ModuleNotFoundError(f"No module named {asked!r}")

    def no_files(asked: str) -> None:
        raise metadata.PackageNotFoundError(asked)

    monkeypatch.setattr(peers, "import_module", missing)
    monkeypatch.setattr(metadata, "files", no_files)
    if name == "mkl":
        from backends.peers.mkl import _library

        _library.cache_clear()
    with pytest.raises(ImportError, match=rf"backend={name} needs a package .*{package}.*pip install -e '\.\[peers\]'"):
        load_backend(name)


def test_a_network_too_large_for_a_peer_is_refused(monkeypatch: pytest.MonkeyPatch, small_network: sparsednn.Network) -> None:
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 0)
    monkeypatch.setattr("sparsednn.system.memory.UNASKED_BYTES", 0)
    with pytest.raises(MemoryError, match="backend=scipy_peer: a network of .* connections needs .*use fewer"):
        sparsednn.infer(small_network, np.ones((2, 12)), backend=ScipyPeer(), threads=3)


@pytest.mark.parametrize(
    ("n_layers", "expected"),
    [
        pytest.param(1, [], id="one layer: one stage"),
        pytest.param(2, [1], id="two"),
        pytest.param(10, [1, 2, 3, 4, 6, 8], id="the last stage is cut off"),
        pytest.param(12, [1, 2, 3, 4, 6, 8], id="none at the end"),
    ],
)
def test_checkpoints(n_layers: int, expected: list[int]) -> None:
    assert checkpoints(n_layers).tolist() == expected


def test_the_bias_is_a_column_of_the_layer(rng: np.random.Generator) -> None:
    dense = np.where(rng.random((4, 3)) < 0.5, rng.random((4, 3)), 0).astype(np.float32)
    layer = sparsednn.Network([sp.csr_array(dense)], bias=[np.array([0.5, 0, -1])]).layers[0]
    matrix = with_bias(layer, layer.bias)
    assert np.array_equal(matrix.toarray(), np.vstack([np.column_stack([dense.T, [0.5, 0, -1]]), np.zeros((1, 5))]))
    assert matrix.nnz == layer.nnz + 3
    assert matrix.has_sorted_indices
    assert matrix.data.dtype == np.float32


def test_a_pool_gives_full_blocks_and_then_the_rest() -> None:
    pool = Pool()
    blocks = np.arange(20, dtype=np.float32).reshape(2, 10)
    for ids in (np.arange(3), np.arange(3, 7), np.arange(7, 10)):
        pool.add(ids, blocks[:, ids])
    pool.add(np.arange(0), blocks[:, :0])
    taken = []
    while pool.n_rows:
        ids, block = pool.take(4)
        assert np.array_equal(block, blocks[:, ids])
        assert block.flags.c_contiguous
        assert block.flags.owndata, "GraphBLAS takes blocks over"
        taken.append(ids.tolist())
    assert taken == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_full_blocks_deep_in_the_network_come_first() -> None:
    """So that few blocks are under way at a time, however many instances there are."""
    inputs = sp.csr_array(np.ones((10, 2), np.float32))
    group = BlockGroup(inputs, np.arange(10), n_stages=3, n_outputs=2, output=False)
    assert group.next_stage(4) == 0
    ids, block = group.take(0, 4)
    assert block.tolist() == [[1] * 4] * 3
    group.put(1, ids, block)
    assert group.next_stage(4) == 1
    group.put(2, *group.take(1, 4))
    assert group.next_stage(4) == 2
    group.finish(*group.take(2, 4))
    for _ in range(2):
        group.put(1, *group.take(0, 3))
    assert group.next_stage(7) == 1, "nothing new: what is left"
    assert group.result().sums.tolist() == [2] * 4 + [0] * 6
