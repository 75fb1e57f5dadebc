"""Kernels whose layers go through BLAS: as near to float64 as they say, under every rule; asked for by name only."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

import sparsednn
from backends.common.blas_threads import one_blas_thread
from sparsednn.backend import KernelOptions, RunSize, load_backend
from sparsednn.data import labelled
from tests.conftest import JIT_DISABLED
from tests.networks import Case, own_activations

KERNELS = ("blas", "fast")

pytestmark = pytest.mark.usefixtures("four_cores")


def in_float64(case: Case) -> np.ndarray:
    """Dense products, biases and limits in double precision; of the activations, those of `tests.networks` without curves."""
    y = case.inputs.toarray().astype(np.float64)
    for w, b, (low, high, slope) in zip(case.weights, case.bias, case.limits, strict=True):
        z = y @ w.astype(np.float64)
        z = z + b if case.network.bias_on == "all" else np.where(z != 0, z + b, z)
        y = np.clip(np.where(z < 0, np.float64(np.float32(slope)) * z, z), np.float32(low), np.float32(high))
    return y


def near(found: np.ndarray, exact: np.ndarray, tolerance: float) -> bool:
    return bool(np.abs(found - exact).max(initial=0) <= tolerance * max(np.abs(exact).max(initial=0), 1))


@settings(max_examples=3 if JIT_DISABLED else 60)
@given(
    case=own_activations(smooth=False),
    kernel=st.sampled_from(KERNELS),
    scheduler=st.sampled_from(["data", "model", "data_then_model", "work_stealing"]),
    columns=st.sampled_from(["none", "merge"]),
    threads=st.integers(1, 3),
)
def test_outputs_are_within_the_tolerance_of_float64(
    case: Case, kernel: str, scheduler: str, columns: str, threads: int
) -> None:
    exact = in_float64(case)
    result = sparsednn.infer(
        case.network, case.inputs, kernel=kernel, scheduler=scheduler, columns=columns, threads=threads, output=True
    )
    assert result.output is not None
    bound = max(len(case.weights), 4) / 400_000
    assert near(result.output.toarray(), exact, bound)
    if result.record["exact"]:
        assert kernel == "fast"  # no layer of which is full enough
        assert "tolerance" not in result.record
    else:
        assert result.record["tolerance"] == bound
    with sparsednn.compile(case.network, kernel=kernel, columns=columns, threads=threads) as compiled:
        assert f"not exact: within {bound:g} of the largest output" in str(compiled.describe())
        x = case.inputs.toarray()
        assert near(compiled(x), exact, bound)
        assert near(compiled(np.asfortranarray(x[::2])), exact[::2], bound)


@pytest.mark.skipif(JIT_DISABLED, reason="too large for plain Python")
@pytest.mark.parametrize("kernel", KERNELS)
def test_snicit_s_network_is_within_the_tolerance_and_reads_what_exact_kernels_read(kernel: str) -> None:
    """20 layers; 512 neurons, 60 % full."""
    images, labels = labelled.mnist_test()
    network = labelled.snicit_network()
    exact = images[:500].reshape(500, -1).astype(np.float64) / 255
    for layer in network.layers:
        z = exact @ layer.to_scipy().toarray().astype(np.float64) + layer.bias
        exact = np.clip(z, layer.activation.low, layer.activation.high)
    model = sparsednn.Model(network=network, input_shape=(28, 28)).with_preprocessing(scale=255)
    with model.compile(kernel=kernel, threads=2) as compiled:
        assert np.abs(compiled.logits(images[:500]) - exact).max() <= 5e-5 * np.abs(exact).max()
        assert compiled.accuracy(images, labels).correct == 9494


def test_auto_never_takes_them() -> None:
    """Every layer is full; only who asks for it by name gets another order of additions."""
    network = sparsednn.Network([np.ones((40, 40))] * 2)
    x = np.ones((200, 40), np.float32)
    assert sparsednn.infer(network, x).record["exact"] is True
    assert sparsednn.infer(network, x, kernel="fast").record["exact"] is False
    with sparsednn.compile(network) as compiled:
        assert "exact" not in str(compiled.describe())
        assert compiled.infer(x[:3]).record["exact"] is True
    with sparsednn.compile(network, kernel="fast") as compiled:
        record = compiled.infer(x[:3]).record
        assert (record["kernel"], record["exact"], record["tolerance"]) == ("fast", False, 1e-5)


def test_direct_calls_of_fast_are_those_of_auto_where_slices_are_faster(rng: np.random.Generator) -> None:
    """60 % full: BLAS gains beside sparse layers of blocks, and nothing beside slices; half empty layers are never for it."""
    for share, direct, ordinary in ((0.99, "fast", False), (0.7, "sliced", False), (0.5, "sliced", True)):
        weights = np.where(rng.random((90, 80)) < share, rng.normal(size=(90, 80)), 0).astype(np.float32)
        network = sparsednn.Network([weights])
        x = rng.random((70, 90), dtype=np.float32)
        with sparsednn.compile(network, kernel="fast") as compiled:
            assert compiled.infer(x[:1]).record["kernel"] == direct
            assert compiled.infer(x[:1]).record["exact"] is (direct == "sliced")
            assert compiled.infer(x).record["exact"] is ordinary


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_not_finite_is_refused_before_anything_is_run(kernel: str) -> None:
    network = sparsednn.Network([np.linspace(1e38, 3e38, 4900).reshape(70, 70)] * 2, activation="identity")
    out, x = np.full((3, 70), 7, np.float32), np.zeros((3, 70), np.float32)
    with sparsednn.compile(network, kernel=kernel, threads=2) as compiled:
        x[2, 69] = np.nan
        with pytest.raises(ValueError, match=r"instance 2, feature 69 \(from 0\) is nan"):
            compiled.run(x, out)
        assert (out == 7).all()
        x[2, 69] = 1
        with pytest.raises(FloatingPointError, match="instance 2"):
            compiled(x)
        x[2, 69] = 0
        assert not compiled(x).any()  # nothing is left of what has overflowed


@pytest.mark.parametrize("kernel", KERNELS)
def test_saved_networks_give_the_same(kernel: str, tmp_path: Path, rng: np.random.Generator) -> None:
    weights = [np.where(rng.random((80, 90)) < 0.9, rng.normal(size=(80, 90)), 0), rng.normal(size=(90, 10))]
    network = sparsednn.Network.from_dense(weights, [0.5, -0.5])
    x = rng.random((100, 80), dtype=np.float32)
    with sparsednn.compile(network, kernel=kernel, threads=2) as compiled:
        expected, record = compiled(x), compiled.infer(x).record
        compiled.save(tmp_path / "saved")
    with sparsednn.load(tmp_path / "saved", threads=2, verify=True) as loaded:
        assert "in files" in str(loaded.describe())
        assert np.array_equal(loaded(x), expected)
        found = loaded.infer(x).record
        assert [found[name] for name in ("kernel", "exact", "tolerance")] == [kernel, False, record["tolerance"]]


def test_blas_has_one_thread_while_anybody_is_at_work() -> None:
    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    def other() -> None:
        with one_blas_thread():
            entered.set()
            leave.wait()

    entered, leave = threading.Event(), threading.Event()
    with threadpool_limits(2, user_api="blas"):
        thread = threading.Thread(target=other)
        with one_blas_thread():
            thread.start()
            entered.wait()
        assert threads() == {1}
        leave.set()
        thread.join()
        assert threads() == {2}
        with one_blas_thread():
            assert threads() == {1}  # set by another thread than before
        with threadpool_limits(3, user_api="blas"):
            assert threads() == {3}
        assert threads() == {2}


@pytest.mark.parametrize("columns", ["none", "merge"])
def test_the_estimate_covers_the_dense_weights(columns: str) -> None:
    """Both are there for a moment: the matrices of the layers, and all of them as one array."""
    network = sparsednn.radixnet(1024, 6)
    backend, options = load_backend("numba"), KernelOptions(kernel="blas", columns=columns)
    distinct = 1024 if columns == "none" else 64
    size = RunSize(1024, 6, network.nnz, 32 * distinct * 6, distinct, 60_000, 10**6, 2)
    taken = sum(array.nbytes for array in backend.store_plan(backend.prepare(network, options, 2)).arrays.values())
    assert 0.9 * 2 * taken < backend.memory_bytes(size, options).plan < 1.5 * 2 * taken
    assert backend.memory_bytes(size, KernelOptions("fast")) == backend.memory_bytes(size, KernelOptions("rowwise_first"))


def test_streamed_layers_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="kernel=blas keeps the network in memory"):
        sparsednn.infer(sparsednn.Network([np.eye(3)]), np.eye(3), kernel="blas", residency="stream")
