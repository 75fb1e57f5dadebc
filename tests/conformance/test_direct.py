"""Direct calls of a compiled network: the bits of the reference and of the naive oracle, for every batch and rule."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from backends.numba_cpu.dense.direct import SlicedNetwork
from backends.numba_cpu.dense.kernels import direct, sliced_net
from backends.numba_cpu.layout.sliced_network import packed
from sparsednn.backend import DirectOutcome, KernelOptions
from tests import oracle
from tests.conftest import JIT_DISABLED
from tests.networks import Case, cases

THREADS = (1, 2, 3, 4)

pytestmark = pytest.mark.usefixtures("four_cores")


def bits(array: np.ndarray) -> bytes:
    """Minus zero and zero are one."""
    return (array + np.float32(0)).tobytes()


def expected(network: sparsednn.Network, x: np.ndarray) -> np.ndarray:
    result = sparsednn.infer(network, x, backend="scipy_reference", threads=1, output=True)
    assert result.output is not None
    return result.output.toarray()


@settings(max_examples=2 if JIT_DISABLED else 60)
@given(case=cases(most_rows=130), threads=st.sampled_from(THREADS), columns=st.sampled_from(["none", "merge"]))
def test_networks_of_every_kind_have_the_bits_of_the_reference(case: Case, threads: int, columns: str) -> None:
    x = case.inputs.toarray()
    with sparsednn.compile(case.network, threads=threads, columns=columns) as compiled:
        assert "sliced" in str(compiled.describe())
        for _ in range(3):
            assert bits(compiled(x)) == bits(expected(case.network, x))


@settings(max_examples=2 if JIT_DISABLED else 20)
@given(case=cases(widest=12, most_rows=8), threads=st.sampled_from(THREADS))
def test_the_naive_oracle_agrees(case: Case, threads: int) -> None:
    x = case.inputs.toarray()
    naive = oracle.infer(case.weights, case.bias, case.network.bias_on, case.limits, x)
    with sparsednn.compile(case.network, threads=threads) as compiled:
        assert bits(compiled(x)) == bits(naive)
        assert compiled.categories(x).tolist() == oracle.categories(naive)


def random_network(rng: np.random.Generator, widths: list[int], bias_on: str = "all") -> sparsednn.Network:
    """Weights of both signs; the second layer has outputs without a connection."""
    weights = []
    for number, (n, m) in enumerate(pairwise(widths)):
        dense = np.where(rng.random((n, m)) < 0.3, rng.normal(size=(n, m)), 0)
        if number == 1:
            dense[:, ::5] = 0
        weights.append(sp.csr_array(dense))
    bias = [rng.normal(size=m) * 0.2 for m in widths[1:]]
    return sparsednn.Network(weights, bias=bias, bias_on=bias_on)  # type: ignore[arg-type]


@pytest.mark.skipif(JIT_DISABLED, reason="too many batches for plain Python")
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("bias_on", ["all", "nonzero"])
def test_every_batch_from_1_to_130_has_the_same_bits_and_compiles_nothing(
    bias_on: str, threads: int, rng: np.random.Generator
) -> None:
    network = random_network(rng, [40, 200, 70, 130, 9], bias_on)
    x = np.where(rng.random((130, 40)) < 0.5, rng.normal(size=(130, 40)), 0).astype(np.float32)
    x[::11] = 0
    whole = expected(network, x)
    with sparsednn.compile(network, threads=threads) as compiled:
        known = list(direct.take_part.signatures)
        for n in range(1, 131):
            assert bits(compiled(x[:n])) == bits(whole[:n]), n
        assert bits(compiled(np.asfortranarray(x))) == bits(whole)
        assert bits(compiled(x[::-1, :])) == bits(whole[::-1])
        assert direct.take_part.signatures == known


@pytest.mark.skipif(JIT_DISABLED, reason="too much work for plain Python")
def test_layers_large_enough_for_helpers_have_the_same_bits_again_and_again(rng: np.random.Generator) -> None:
    """Calls with helpers that are awake, asleep, or late."""
    network = random_network(rng, [500, 700, 300, 700])
    x = np.where(rng.random((70, 500)) < 0.4, rng.random((70, 500)), 0).astype(np.float32)
    whole = bits(expected(network, x))
    first = bits(expected(network, x)[:1])
    with sparsednn.compile(network, threads=3) as compiled, sparsednn.compile(network, threads=2) as other:
        for _ in range(200):
            assert bits(compiled(x)) == whole
            assert bits(other(x[:1])) == first
            assert bits(compiled(x[:1])) == first


@pytest.mark.parametrize(("cache", "far"), [(0, 1), (2**40, 0)])
def test_networks_that_outgrow_the_cache_have_the_same_bits(
    cache: int, far: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(rng, [30, 90, 40, 7])
    x = np.where(rng.random((35, 30)) < 0.7, rng.normal(size=(35, 30)), 0).astype(np.float32)
    whole = expected(network, x)
    monkeypatch.setattr("backends.numba_cpu.dense.direct.cache_bytes", lambda level: {3: cache}[level])
    direct_network = SlicedNetwork(packed(network, KernelOptions("auto", columns="none")), 2)
    with closing(direct_network):
        assert direct_network._shared[sliced_net.FAR] == far
        for rows in (slice(0, 1), slice(3, 4), slice(0, 35)):
            out = np.empty((rows.stop - rows.start, 7), np.float32)
            assert direct_network.run(x[rows], out) is DirectOutcome.RIGHT
            assert bits(out) == bits(whole[rows])


@pytest.mark.slow  # compiles kernels for these ids; tests/unit/test_packing.py looks at what is packed
@pytest.mark.skipif(JIT_DISABLED, reason="too wide for plain Python")
def test_ids_of_more_than_sixteen_bits(rng: np.random.Generator) -> None:
    n = 70_000
    wide = sp.csr_array((rng.normal(size=3000), (rng.permutation(n)[:3000], rng.integers(0, 40, 3000))), shape=(n, 40))
    network = sparsednn.Network([wide, sp.csr_array(rng.normal(size=(40, 3)))], bias=0.1, bias_on="all")
    x = (rng.random((5, n)) < 0.5).astype(np.float32)
    with sparsednn.compile(network, threads=2) as compiled:
        assert bits(compiled(x)) == bits(expected(network, x))
