"""Single instances of which few activations are alive: packed by rows on the way, with the bits of the reference."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from backends.numba_cpu.dense import direct as direct_networks
from backends.numba_cpu.dense.direct import SlicedNetwork
from backends.numba_cpu.dense.kernels import direct, event_driven
from backends.numba_cpu.layout.sliced_network import packed
from sparsednn.backend import DirectOutcome, KernelOptions
from sparsednn.errors import MemoryShortageError
from tests.conformance.test_direct import THREADS, bits, expected, random_network
from tests.conftest import JIT_DISABLED
from tests.networks import Case, cases

pytestmark = pytest.mark.usefixtures("four_cores")


def quiet_network(rng: np.random.Generator, widths: list[int], bias_on: str = "all") -> sparsednn.Network:
    """Return a network whose biases leave few activations alive."""
    network = random_network(rng, widths, bias_on)
    weights = [layer.to_scipy() for layer in network.layers]
    bias = [np.abs(layer.bias) * 2 - 1.5 for layer in network.layers]
    return sparsednn.Network(weights, bias=bias, bias_on=bias_on)  # type: ignore[arg-type]


@settings(max_examples=2 if JIT_DISABLED else 60)
@given(case=cases(most_rows=6), threads=st.sampled_from(THREADS), columns=st.sampled_from(["none", "merge"]))
def test_networks_of_every_kind_have_the_bits_of_the_reference(case: Case, threads: int, columns: str) -> None:
    network = SlicedNetwork(packed(case.network, KernelOptions("auto", columns=columns)), threads)
    assert network.pack_rows() or columns == "merge"
    x = case.inputs.toarray().astype(np.float32)
    out = np.empty((1, case.network.n_outputs), np.float32)
    whole = expected(case.network, x)
    for row, right in zip(x, whole, strict=True):
        assert network.run(row[np.newaxis], out) is DirectOutcome.RIGHT
        assert bits(out[0]) == bits(right)
    network.close()


@pytest.mark.skipif(JIT_DISABLED, reason="too many calls for plain Python")
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("bias_on", ["all", "nonzero"])
def test_calls_of_few_living_activations_have_the_rows_packed_and_compile_nothing(
    bias_on: str, threads: int, rng: np.random.Generator
) -> None:
    network = quiet_network(rng, [300, 400, 200, 500, 30], bias_on)
    x = np.where(rng.random((40, 300)) < 0.1, rng.normal(size=(40, 300)), 0).astype(np.float32)
    x[7] = 0
    whole = expected(network, x)
    with sparsednn.compile(network, threads=threads) as compiled:
        before = compiled.describe().layouts[0].n_bytes
        known = list(direct.take_part.signatures)
        for _ in range(2):
            for row, right in zip(x, whole, strict=True):
                assert bits(compiled(row)) == bits(right)
        assert before is not None
        assert compiled.describe().layouts[0].n_bytes > before + 4 * network.nnz
        assert bits(compiled(x)) == bits(whole)
        assert direct.take_part.signatures == known


@pytest.mark.skipif(JIT_DISABLED, reason="too much work for plain Python")
def test_layers_large_enough_for_helpers_have_the_same_bits_again_and_again(rng: np.random.Generator) -> None:
    """Teams of any size take all parts of the rows."""
    network = quiet_network(rng, [500, 700, 300, 700])
    x = np.where(rng.random((1, 500)) < 0.2, rng.random((1, 500)), 0).astype(np.float32)
    right = bits(expected(network, x))
    with sparsednn.compile(network, threads=4) as compiled, sparsednn.compile(network, threads=3) as other:
        for _ in range(300):
            assert bits(compiled(x)) == right
            assert bits(other(x)) == right


def n_bytes(compiled: sparsednn.CompiledNetwork) -> int:
    found = compiled.describe().layouts[0].n_bytes
    assert found is not None
    return found


def many_alive(rng: np.random.Generator) -> np.ndarray:
    return rng.random((1, 60), dtype=np.float32) + 1


def few_alive(rng: np.random.Generator) -> np.ndarray:
    return np.where(np.arange(60) < 6, rng.random((1, 60)), 0).astype(np.float32)


def test_rows_are_packed_only_where_few_are_alive(rng: np.random.Generator) -> None:
    network = sparsednn.Network([sp.csr_array(np.where(rng.random((60, 40)) < 0.5, 1, 0))], bias=1.0, bias_on="all")
    with sparsednn.compile(network, threads=1, batch_sizes=[1]) as compiled:
        before = n_bytes(compiled)
        for _ in range(direct_networks.MISSED_OFTEN + 2):
            compiled(many_alive(rng))
            compiled(np.repeat(few_alive(rng), 2, axis=0))
        assert n_bytes(compiled) == before
        for _ in range(direct_networks.MISSED_OFTEN):
            assert n_bytes(compiled) == before
            compiled(few_alive(rng))
        assert n_bytes(compiled) > before


def test_rows_that_do_not_fit_are_left_out(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MemoryShortageError("no")

    monkeypatch.setattr(direct_networks, "pack_rows", refuse)
    network = sparsednn.Network([sp.csr_array(np.where(rng.random((60, 40)) < 0.5, 1, 0))], bias=1.0, bias_on="all")
    with sparsednn.compile(network, threads=1, batch_sizes=[1]) as compiled:
        before = n_bytes(compiled)
        for _ in range(direct_networks.MISSED_OFTEN + 2):
            x = few_alive(rng)
            assert bits(compiled(x)) == bits(expected(network, x))
        assert n_bytes(compiled) == before


def test_merged_columns_that_add_in_another_order_are_never_packed_by_rows() -> None:
    """The second and third input of the second layer are one, so its terms are not ascending: 0, 2, 1."""
    first = sp.csr_array(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], np.float32)[:, [0, 1, 0, 2][:3]])
    second = sp.csr_array(np.array([[1.5], [1e8], [-1e8]], np.float32))
    network = sparsednn.Network([first, second], activation=sparsednn.identity(), bias=0.0)
    merged = SlicedNetwork(packed(network, KernelOptions("auto", columns="merge")), 1)
    x = np.array([[1, 0, 0]], np.float32)
    out = np.empty((1, 1), np.float32)
    by_rows = merged.pack_rows()
    for _ in range(direct_networks.MISSED_OFTEN + 2):
        assert merged.run(x, out) is DirectOutcome.RIGHT
        assert bits(out) == bits(expected(network, x))
    assert not by_rows


@pytest.mark.slow  # compiles kernels for these ids; tests/unit/test_packing.py looks at what is packed
@pytest.mark.skipif(JIT_DISABLED, reason="too wide for plain Python")
def test_ids_of_more_than_sixteen_bits(rng: np.random.Generator) -> None:
    n = 70_000
    first = sp.csr_array((rng.normal(size=9000), (rng.integers(0, 40, 9000), rng.permutation(n)[:9000])), shape=(40, n))
    second = sp.csr_array((rng.normal(size=9000), (rng.permutation(n)[:9000], rng.integers(0, 40, 9000))), shape=(n, 40))
    network = sparsednn.Network([first, second], bias=0.0)
    x = np.where(np.arange(40) < 9, rng.random((1, 40)), 0).astype(np.float32)
    with sparsednn.compile(network, threads=2) as compiled:
        for _ in range(direct_networks.MISSED_OFTEN + 2):
            assert bits(compiled(x)) == bits(expected(network, x))


@pytest.mark.skipif(JIT_DISABLED, reason="too many calls for plain Python")
@pytest.mark.parametrize("threads", [1, 3])
def test_the_record_counts_connections_that_were_touched(threads: int, rng: np.random.Generator) -> None:
    network = quiet_network(rng, [300, 400, 200, 50])
    x = np.where(rng.random((1, 300)) < 0.1, rng.random((1, 300)), 0).astype(np.float32)
    touched, y = 0, x[0]
    for layer in network.layers:
        weights = layer.to_scipy().tocsr()
        few = np.count_nonzero(y) * 100 < len(y) * event_driven.PERCENT_ALIVE
        touched += int(np.diff(weights.indptr)[y != 0].sum()) if few else layer.nnz
        y = np.maximum(y @ weights.toarray() + layer.bias, 0)
    assert touched < network.nnz / 4
    with sparsednn.compile(network, threads=threads) as compiled:
        assert compiled.infer(x).record["performed_edges"] == network.nnz
        for _ in range(direct_networks.MISSED_OFTEN):
            compiled(x)
        record = compiled.infer(x, output=True).record
        assert record["performed_edges"] == touched
        assert (record["scheduler"], record["kernel"], record["threads"]) == ("model", "sliced", threads)
        assert compiled.infer(x.repeat(65, axis=0)).record["scheduler"] == "data"
