"""Weights of 16 bits: every kernel has the bits of the reference on a network that was rounded first, in plain Python."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.numba_cpu.dense.kernels import direct
from sparsednn.errors import OptionError
from sparsednn.network.rounding import UNIT_ROUNDOFF
from sparsednn.simulator.simulate import simulate
from tests.backends import USABLE, agree, same_bits
from tests.conftest import JIT_DISABLED
from tests.rounded import rounded

COMPILES = () if JIT_DISABLED else pytest.mark.slow
"""Kernels for weights of 16 bits take 10 to 20 s of a processor each to compile: every run has them as plain Python
(tests/conformance/test_without_jit.py), and compiles of them what reads weights (tests/unit/test_short_weights.py)."""

SHORT = [pytest.param("bfloat16", marks=COMPILES), pytest.param("float16", marks=COMPILES)]
WIDTHS = (40, 64, 96, 30)
MANY = 128
BLOCKS: dict[str, dict[str, Any]] = {
    "default": {},
    "sparse layers, a team": {"kernel": "udc_csc", "scheduler": "model", "threads": 3, "minimum_work": 0},
    "nothing optimised": {"columns": "none", "order": "given", "rows": "none", "threads": 2},
    "narrow blocks": {"block_rows": 8, "threads": 2, "scheduler": "work_stealing"},
}


def matrices(rng: np.random.Generator, kind: str) -> list[np.ndarray]:
    """Layers whose outputs have inputs of their own, or share them by 16 and some; the last has one weight for all."""
    together = 16 if kind == "groups" else 1
    found = []
    for n, m in itertools.pairwise(WIDTHS):
        there = np.repeat(rng.random((n, -(-m // together))) < 0.3, together, axis=1)[:, :m]
        found.append(np.where(there, rng.normal(size=(n, m)), 0).astype(np.float32))
    found[-1][found[-1] != 0] = np.float32(1 / 3)
    return found


def network_of(weights: list[np.ndarray]) -> sparsednn.Network:
    bias = [np.linspace(-0.3, 0.3, w.shape[1]) for w in weights]
    return sparsednn.Network([sp.csr_array(w) for w in weights], bias=bias, activation=sparsednn.relu())


def some_inputs(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random((n, WIDTHS[0])) < 0.5, rng.normal(size=(n, WIDTHS[0])), 0).astype(np.float32)


def expected(given: list[np.ndarray], weights: str, x: np.ndarray) -> sp.csr_array:
    """What the reference makes of weights that are rounded already."""
    network = network_of([rounded(matrix, weights) for matrix in given])
    output = sparsednn.infer(network, x, backend="scipy_reference", threads=1, output=True).output
    assert output is not None
    return output


@pytest.mark.parametrize("kind", ["plain", "groups"])
@pytest.mark.parametrize("weights", SHORT)
def test_dense_blocks_have_the_bits_of_the_rounded_network(weights: str, kind: str, rng: np.random.Generator) -> None:
    given, x = matrices(rng, kind), some_inputs(rng, 70)
    right = expected(given, weights, x)
    for name, options in BLOCKS.items():
        result = sparsednn.infer(network_of(given), x, weights=weights, output=True, **options)
        assert result.output is not None
        assert same_bits(result.output, right), name
        assert result.record["optimizations"]["stored_weights"] == weights
        assert result.record["optimizations"]["weights"] == weights
        assert result.record["exact"] is False
        assert result.record["tolerance"] == 3 * UNIT_ROUNDOFF[weights]


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
@pytest.mark.parametrize("backend", [name for name in USABLE if name != "numba"])
def test_other_backends_round_and_store_float32(backend: str, weights: str, rng: np.random.Generator) -> None:
    given, x = matrices(rng, "plain"), some_inputs(rng, 9)
    result = sparsednn.infer(network_of(given), x, backend=USABLE[backend], weights=weights, output=True)
    assert result.output is not None
    assert agree(backend, result.record["kernel"], result.output, expected(given, weights, x))
    assert result.record["optimizations"]["stored_weights"] == "float32"
    assert result.record["exact"] is False


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
@pytest.mark.parametrize("kernel", ["csc_csc", "dcsc_csc", "csr_csr", "udc_udc", "blas"])
def test_other_kernels_round_and_store_float32(kernel: str, weights: str, rng: np.random.Generator) -> None:
    given, x = matrices(rng, "groups"), some_inputs(rng, 9)
    result = sparsednn.infer(network_of(given), x, kernel=kernel, weights=weights, threads=2, output=True)
    assert result.output is not None
    assert agree("numba", kernel, result.output, expected(given, weights, x))
    assert result.record["optimizations"]["stored_weights"] == "float32"


@pytest.mark.parametrize("weights", SHORT)
@pytest.mark.usefixtures("four_cores")
def test_direct_calls_have_the_bits_of_the_rounded_network_and_compile_nothing(
    weights: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    given, x = matrices(rng, "groups"), some_inputs(rng, 20 if JIT_DISABLED else MANY)
    right = expected(given, weights, x).toarray()
    for threads in (1, 3):
        with sparsednn.compile(network_of(given), weights=weights, threads=threads) as compiled:
            known = [] if JIT_DISABLED else list(direct.take_part.signatures)  # type: ignore[attr-defined]
            for n in (1, 2, 3, 5, 9, 17, len(x)) if JIT_DISABLED else range(1, MANY + 1):
                assert (compiled(x[:n]) + 0).tobytes() == (right[:n] + 0).tobytes()
            assert JIT_DISABLED or direct.take_part.signatures == known  # type: ignore[attr-defined]
            record = compiled.infer(x[:4]).record
            assert (record["kernel"], record["exact"]) == ("sliced", False)
            assert record["optimizations"]["stored_weights"] == weights
            assert f"within {3 * UNIT_ROUNDOFF[weights]:g}" in str(compiled.describe())
    with sparsednn.compile(network_of(given), weights=weights) as compiled:
        compiled.save(tmp_path / "saved")
        n_bytes = [layout.n_bytes for layout in compiled.describe().layouts]
    with sparsednn.load(tmp_path / "saved", verify=True) as loaded, sparsednn.compile(network_of(given)) as whole:
        assert (loaded(x) + 0).tobytes() == (right + 0).tobytes()
        result = loaded.infer(x, output=True)
        assert result.output is not None
        assert np.array_equal(result.output.toarray(), right)
        assert result.record["tolerance"] == 3 * UNIT_ROUNDOFF[weights]
        whole.pack([1])
        whole.infer(np.ones((MANY, WIDTHS[0])))
        assert all(short < layout.n_bytes for short, layout in zip(n_bytes, whole.describe().layouts, strict=True))


@pytest.mark.parametrize("weights", SHORT)
def test_a_single_instance_with_few_living_activations_goes_by_rows(weights: str, rng: np.random.Generator) -> None:
    given, x = matrices(rng, "plain"), np.zeros((1, WIDTHS[0]), np.float32)
    x[0, :3] = 1
    right = expected(given, weights, x).toarray()
    with sparsednn.compile(network_of(given), weights=weights, threads=1) as compiled:
        for _ in range(20):
            assert (compiled(x) + 0).tobytes() == (right + 0).tobytes()


@pytest.mark.parametrize("weights", SHORT)
def test_streamed_layers_and_those_in_memory_are_kept_apart(
    weights: str, rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rounded network, with its weights in 32 bits and in 16, has folders of its own."""
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    given, x = matrices(rng, "groups"), some_inputs(rng, 20)
    right = expected(given, weights, x)
    as_float32 = network_of([rounded(matrix, weights) for matrix in given])
    for network, options in ((as_float32, {}), (as_float32, {"weights": weights}), (network_of(given), {"weights": weights})):
        output = sparsednn.infer(network, x, residency="stream", output=True, **options).output
        assert output is not None
        assert same_bits(output, right)
    assert len(list((tmp_path / "layers").glob("layers-*"))) == 2


def test_one_weight_for_all_is_stored_as_float32_and_exact_if_rounding_changes_nothing(rng: np.random.Generator) -> None:
    for weight, exact in ((0.0625, True), (1 / 3, False)):
        given = [np.where(matrix != 0, np.float32(weight), np.float32(0)) for matrix in matrices(rng, "groups")]
        x = some_inputs(rng, 20)
        result = sparsednn.infer(network_of(given), x, weights="bfloat16", output=True)
        assert result.output is not None
        assert same_bits(result.output, expected(given, "bfloat16", x))
        assert result.record["optimizations"]["stored_weights"] == "float32"
        assert result.record["exact"] is exact
        assert ("tolerance" in result.record) is not exact


def test_float32_weights_leave_the_record_as_it_was(rng: np.random.Generator) -> None:
    record = sparsednn.infer(network_of(matrices(rng, "plain")), some_inputs(rng, 3), weights="float32").record
    assert record["exact"] is True
    assert not {"weights", "stored_weights"} & set(record["optimizations"])


def test_what_cannot_be_is_refused(rng: np.random.Generator) -> None:
    network, x = network_of(matrices(rng, "plain")), some_inputs(rng, 2)
    with pytest.raises(OptionError, match=r"^weights=int8: legal: float32, bfloat16, float16$"):
        sparsednn.infer(network, x, weights="int8")
    with pytest.raises(
        OptionError, match=r"^weights=bfloat16: costs are calibrated with weights of float32; leave it out or use"
    ):
        simulate(network, x, weights="bfloat16")
    large = sparsednn.Network([np.ones((2, 2)), np.array([[1, -1e5], [1, 1]])])
    for call in (sparsednn.compile, lambda network, **options: sparsednn.infer(network, np.ones((1, 2)), **options)):
        with pytest.raises(OptionError, match=r"^weights=float16: layer 2 has the weight -100000, .*; use weights=bfloat16 or"):
            call(large, weights="float16")
