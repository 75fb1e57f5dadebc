"""Convolutions stored once: the bits of the unrolled layers with every kernel, a fraction of the memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from backends.common.column_merging import saturated_rows_stay
from sparsednn.network import ShiftedLayer
from tests import oracle
from tests.conftest import JIT_DISABLED
from tests.importers.convolutions import Convolution, convolutions, graph_of, resnet20, unrolled
from tests.importers.graphs import assert_agrees, graph

KERNELS = ("rowwise_first", "udc_csc", "udc_udc", "csc_csc", "csr_csr")
BATCHES = (1, 2, 3, 7, 8, 16, 17, 32, 33, 65, 130)


@pytest.fixture(autouse=True, scope="module")
def always_stored_once() -> Iterator[None]:
    """However small a layer is; teams of up to four threads, however few cores there are."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sparsednn.importers.lowering.layers.WORTH_ENTRIES", 1)
        patched.setattr("sparsednn.importers.lowering.layers.WORTH_TIMES", 1)
        patched.setattr("sparsednn.engine.request.default_threads", lambda: 4)
        yield


def imported(chain: list[Convolution], operator: str = "Relu") -> sparsednn.Network:
    return sparsednn.from_onnx(graph_of(chain, operator)).network


def one_convolution(n_out: int = 20, seed: int = 0) -> Convolution:
    """3 x 3 of 2 channels, with a border of padding."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n_out, 2, 3, 3)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.3] = 0
    bias = rng.normal(size=n_out).astype(np.float32)
    return Convolution((9, 8), weights, bias, 1, (1, 1), (1, 1), (1, 1), (1, 1))


def output_of(network: sparsednn.Network, x: np.ndarray, **options: Any) -> np.ndarray:
    output = sparsednn.infer(network, x, output=True, **options).output
    assert output is not None
    return output.toarray()


def bits(array: np.ndarray) -> bytes:
    """Minus zero and zero are one."""
    return (array + np.float32(0)).tobytes()


@settings(max_examples=2 if JIT_DISABLED else 15)
@given(chain=convolutions(most_layers=2, most_channels=4), seed=st.integers(0, 99))
def test_the_naive_oracle_agrees_to_the_bit(chain: list[Convolution], seed: int) -> None:
    network = imported(chain)
    x = np.random.default_rng(seed).normal(size=(3, network.n_inputs)).astype(np.float32)
    matrices, biases = zip(*(one.dense() for one in chain), strict=True)
    naive = oracle.infer(list(matrices), list(biases), "all", [(0, np.inf)] * len(chain), x)
    with sparsednn.compile(network, threads=1) as compiled:
        assert bits(compiled(x)) == bits(naive)
    assert bits(output_of(network, x)) == bits(naive)


@settings(max_examples=1 if JIT_DISABLED else 8)
@given(
    chain=convolutions(most_channels=20), threads=st.integers(1, 4), columns=st.sampled_from(["merge", "none"]),
    operator=st.sampled_from(["Relu", "Tanh", "Identity"]),
)  # fmt: skip
def test_all_kernels_have_the_bits_of_unrolled_layers(
    chain: list[Convolution], threads: int, columns: str, operator: str
) -> None:
    once = imported(chain, operator)
    plain = unrolled(once)
    x = np.random.default_rng(threads).normal(size=(max(BATCHES), once.n_inputs)).astype(np.float32)
    expected = output_of(plain, x, backend="scipy_reference", threads=1)
    with sparsednn.compile(once, threads=threads, columns=columns) as compiled:
        for n in BATCHES:
            assert bits(compiled(x[:n])) == bits(expected[:n])
    for kernel in KERNELS:
        scheduler = "model" if threads > 2 and kernel != "csr_csr" else "data"
        found = output_of(once, x, kernel=kernel, threads=threads, columns=columns, scheduler=scheduler)
        assert bits(found) == bits(expected), kernel


@settings(max_examples=1 if JIT_DISABLED else 15)
@given(chain=convolutions(most_layers=1), seed=st.integers(0, 99))
def test_residual_blocks_are_stored_once_too(chain: list[Convolution], seed: int) -> None:
    """A convolution whose input is scaled, padded and added to its output, and a pool after it."""
    rng, one = np.random.default_rng(seed), chain[0]
    channels, sizes = one.weights.shape[1] * one.groups, one.sizes
    same = {"pads": [1] * 2 * len(sizes)}
    constants = {
        "k": rng.normal(size=(1, channels, *[1] * len(sizes))).astype(np.float32),
        "w": rng.normal(size=(channels, channels, *[3] * len(sizes))).astype(np.float32),
    }
    nodes = [
        ("Relu", ["x"], "r", {}),
        ("Mul", ["r", "k"], "m", {}),
        ("Conv", ["m", "w"], "c", same),
        ("Relu", ["c"], "s", {}),
        ("Conv", ["s", "w"], "d", same),
        ("Add", ["d", "r"], "e", {}),
        ("Relu", ["e"], "f", {}),
        ("AveragePool", ["f"], "g", {"kernel_shape": [2] * len(sizes), **same}),
        ("GlobalAveragePool", ["g"], "y", {}),
    ]  # fmt: skip
    data = graph(nodes, ["n", channels, *sizes], constants)
    x = rng.normal(size=(2, channels, *sizes)).astype(np.float32)
    assert_agrees(data, x, scale=float(np.abs(x).max()) * 100)
    network = sparsednn.from_onnx(data).network
    with sparsednn.compile(network, threads=2) as once, sparsednn.compile(unrolled(network), threads=2) as plain:
        assert bits(once(x.reshape(2, -1))) == bits(plain(x.reshape(2, -1)))


def test_a_convolution_is_stored_once_and_as_large_as_its_weights() -> None:
    one = one_convolution()
    one.weights[:, 0, 0, 0] = one.weights[:, 1, 2, 2] = 1  # so that no two ways to lie on the border have the same entries
    one.weights[:, 0, 0, 1] = one.weights[:, 0, 1, 0] = one.weights[:, 1, 1, 2] = one.weights[:, 1, 2, 1] = 1
    [layer] = imported([one]).layers
    assert isinstance(layer, ShiftedLayer)
    assert layer.nnz == np.count_nonzero(one.dense()[0])
    assert len(layer.starts) == 1 + 9 * 20, "inside, at four edges and in four corners, for each channel"
    assert layer.n_stored < 9 * np.count_nonzero(one.weights)


def test_what_saves_little_is_unrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    one = one_convolution()
    entries = np.count_nonzero(one.dense()[0])
    stored = imported([one]).layers[0].n_stored
    monkeypatch.setattr("sparsednn.importers.lowering.layers.WORTH_ENTRIES", entries - stored)
    assert isinstance(imported([one]).layers[0], ShiftedLayer)
    monkeypatch.setattr("sparsednn.importers.lowering.layers.WORTH_ENTRIES", entries - stored + 1)
    assert isinstance(imported([one]).layers[0], sparsednn.network.Layer)
    monkeypatch.setattr("sparsednn.importers.lowering.layers.WORTH_ENTRIES", 1)
    monkeypatch.setattr("sparsednn.importers.lowering.layers.WORTH_TIMES", entries / stored + 0.1)
    assert isinstance(imported([one]).layers[0], sparsednn.network.Layer)


def test_a_dry_run_says_both_figures_as_the_import_does() -> None:
    data = resnet20()
    planned, made = sparsednn.from_onnx(data, explain=True), sparsednn.from_onnx(data).report
    assert made.entries == sum(layer.entries for layer in made.layers) > 37e6
    assert planned.entries >= made.entries
    assert abs(planned.n_stored - made.n_stored) < 0.01 * made.n_stored < 0.01 * made.entries / 20
    assert f"with convolutions stored once about {planned.n_stored:,} entries, about {planned.stored_bytes:,} bytes" in str(
        planned
    )
    assert f"(about {planned.layers[1].n_stored:,} stored)" in str(planned)
    assert f"({made.layers[1].n_stored:,} stored)" in str(made)


def test_shortcuts_carry_only_the_inputs_that_they_read() -> None:
    """ResNet-20 has two of 1 x 1 with a stride of 2: of 16 x 32 x 32 and of 32 x 16 x 16 values, a quarter is carried."""
    report = sparsednn.from_onnx(resnet20()).report
    shortcuts = [layer for layer in report.layers if layer.carried and layer.n_outputs - layer.carried != layer.carried]
    assert [layer.carried for layer in shortcuts] == [16 * 16 * 16, 32 * 8 * 8]


@pytest.mark.parametrize(
    "options", [{"residency": "stream"}, {"hashing": "both"}, {"order": "shared_inputs"}, {"block_rows": 16}]
)
def test_other_ways_to_run_have_the_same_bits(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    network = imported([one_convolution(16), one_convolution_after(16)])
    x = np.abs(np.random.default_rng(2).normal(size=(70, network.n_inputs))).astype(np.float32)
    found = output_of(network, x, threads=2, **options)
    plain = output_of(unrolled(network), x, threads=2, **options)
    assert bits(found) == bits(plain)
    if options != {"hashing": "both"}:
        assert bits(found) == bits(output_of(network, x, backend="scipy_reference", threads=1))


def one_convolution_after(channels: int) -> Convolution:
    weights = np.random.default_rng(1).normal(size=(3, channels, 2, 2)).astype(np.float32)
    return Convolution((9, 8), weights, np.zeros(3, np.float32), 1, (2, 1), (1, 1), (0, 1), (1, 0))


def test_saturated_rows_are_found_without_unrolling() -> None:
    one = one_convolution(4)
    for scale in (100, 0.01):
        steep = one._replace(weights=np.abs(one.weights) * np.float32(scale), bias=np.abs(one.bias))
        first = steep._replace(
            weights=np.ones((2, 2, 1, 1), np.float32), bias=np.zeros(2, np.float32), before=(0, 0), after=(0, 0)
        )
        network = imported([first, steep])
        clipped = [with_limit(layer) for layer in network.layers]
        network = sparsednn.Network.from_layers(clipped, "all")
        assert isinstance(network.layers[1], ShiftedLayer)
        assert saturated_rows_stay(network).tolist() == saturated_rows_stay(unrolled(network)).tolist()
        assert saturated_rows_stay(network)[1] == (scale == 100)


def with_limit(layer: Any) -> Any:
    from dataclasses import replace

    return replace(layer, activation=sparsednn.clipped_relu(6))


def test_compiled_networks_come_back_from_files(tmp_path: Path) -> None:
    network = imported([one_convolution(16), one_convolution_after(16)])
    x = np.random.default_rng(3).normal(size=(70, network.n_inputs)).astype(np.float32)
    with sparsednn.compile(network, threads=2) as compiled:
        expected = compiled(x)
        compiled.save(tmp_path / "saved")
    with sparsednn.load(tmp_path / "saved", threads=1) as loaded:
        assert bits(loaded(x)) == bits(expected) == bits(loaded.infer(x, output=True).output.toarray())


RESNET = """
import sys
import numpy as np
import sparsednn
from sparsednn.system.memory import peak_rss_bytes, reset_peak_rss
reset_peak_rss()
model = sparsednn.from_onnx(sys.argv[1])
with model.compile(threads=2) as compiled:
    logits = compiled(np.load(sys.argv[2])[:128])
print(peak_rss_bytes())
np.save(sys.argv[3], logits)
"""


@pytest.mark.slow  # 40 s: the unrolled network has 37 million connections
@pytest.mark.skipif(JIT_DISABLED, reason="too large for plain Python")
def test_resnet20_takes_little_memory_and_no_more_time(tmp_path: Path) -> None:
    """400 MB instead of 2.1 GB, the bits of the unrolled network, at most 1.3 times its time, less for one instance."""
    (tmp_path / "resnet20.onnx").write_bytes(resnet20())
    x = np.random.default_rng(0).normal(size=(1024, 3 * 32 * 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-c", RESNET, *(str(tmp_path / name) for name in ("resnet20.onnx", "x.npy", "logits.npy"))]
    for _ in range(2):  # the first one may compile
        peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    network = sparsednn.from_onnx(tmp_path / "resnet20.onnx").network
    with sparsednn.compile(network, threads=2) as once, sparsednn.compile(unrolled(network), threads=2) as plain:
        assert bits(plain(x[:128])) == bits(np.load(tmp_path / "logits.npy"))
        assert bits(once(x)) == bits(plain(x))
        seconds = {
            n: [np.median(times) for times in zip(*(_timed([once, plain], x[:n]) for _ in range(5)), strict=True)]
            for n in (1, 1024)
        }
    print(f"peak {peak / 1e6:.0f} MB; seconds stored once, unrolled: {seconds}")
    assert peak <= 400e6
    assert seconds[1][0] < seconds[1][1]
    assert seconds[1024][0] <= 1.3 * seconds[1024][1]


def _timed(contestants: list[Any], x: np.ndarray) -> list[float]:
    """Seconds of a call of each, one after the other."""
    seconds = []
    for one in contestants:
        began = perf_counter()
        one(x)
        seconds.append(perf_counter() - began)
    return seconds
