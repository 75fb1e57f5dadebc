"""Slopes, limits of each neuron and smooth functions: the naive oracle's bits, or the reference's, from every kernel."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from backends.numba_cpu.dense.direct import SlicedNetwork
from backends.numba_cpu.layout.sliced_network import packed
from sparsednn.backend import DirectOutcome, KernelOptions
from tests import oracle
from tests.backends import KERNELS, ON_HOST, USABLE, nearly_equal
from tests.conformance.test_backend import COLUMNS, ORDER, REFERENCE, ROWS
from tests.conformance.test_schedulers import eager
from tests.conftest import JIT_DISABLED
from tests.networks import Case, own_activations

OURS = [
    param for param in KERNELS if param.values[0] in ("numba", REFERENCE, ON_HOST) and "cusparse_spgemm" not in param.values
]
EXAMPLES = 8 if JIT_DISABLED else 25
SMALL = {"widest": 18, "most_rows": 10, "most_layers": 4} if JIT_DISABLED else {"widest": 24, "most_rows": 24, "most_layers": 4}


def bits(array: np.ndarray) -> bytes:
    """Minus zero and zero are one."""
    return (array + np.float32(0)).tobytes()


def naive(case: Case) -> np.ndarray:
    return oracle.infer(case.weights, case.bias, case.network.bias_on, case.limits, case.inputs.toarray())


def reference(network: sparsednn.Network, x: np.ndarray) -> np.ndarray:
    result = sparsednn.infer(network, x, backend=REFERENCE, threads=1, output=True)
    assert result.output is not None
    return result.output.toarray()


def legal(backend: str, kernel: str) -> list[str]:
    """Schedulers that go with a kernel, in one process."""
    return [name for name in USABLE[backend].schedulers[kernel] if name != "global_work_stealing"]


def inferred(backend: str, kernel: str, scheduler: str, case: Case, **options: Any) -> sparsednn.Result:
    """Run a case, with its output."""
    return sparsednn.infer(
        case.network, case.inputs, backend=USABLE[backend], kernel=kernel, scheduler=eager(scheduler), output=True, **options
    )  # fmt: skip


@pytest.mark.parametrize(("backend", "kernel"), OURS)
@settings(max_examples=EXAMPLES)
@given(
    case=own_activations(smooth=False, **SMALL), rows=ROWS, columns=COLUMNS, order=ORDER, threads=st.sampled_from([1, 2]),
    data=st.data(),
)  # fmt: skip
def test_slopes_and_limits_of_each_neuron_have_the_bits_of_the_naive_oracle(
    backend: str, kernel: str, case: Case, rows: str, columns: str, order: str, threads: int, data: st.DataObject
) -> None:
    scheduler = data.draw(st.sampled_from(legal(backend, kernel)))
    result = inferred(backend, kernel, scheduler, case, threads=threads, rows=rows, columns=columns, order=order)
    expected = naive(case)
    assert result.output is not None
    if kernel in USABLE[backend].same_bits:
        assert bits(result.output.toarray()) == bits(expected)
        assert result.output.nnz == np.count_nonzero(expected)
        assert result.categories.tolist() == oracle.categories(expected)
    else:
        assert nearly_equal(result.output, sp.csr_array(expected))


@pytest.mark.parametrize(("backend", "kernel"), OURS)
@settings(max_examples=EXAMPLES)
@given(
    case=own_activations(smooth=True, **SMALL), rows=ROWS, columns=COLUMNS, order=ORDER, threads=st.sampled_from([1, 2]),
    data=st.data(),
)  # fmt: skip
def test_smooth_functions_have_the_same_bits_in_every_kernel(
    backend: str, kernel: str, case: Case, rows: str, columns: str, order: str, threads: int, data: st.DataObject
) -> None:
    scheduler = data.draw(st.sampled_from(legal(backend, kernel)))
    result = inferred(backend, kernel, scheduler, case, threads=threads, rows=rows, columns=columns, order=order)
    assert result.output is not None
    expected = reference(case.network, case.inputs.toarray())
    if kernel in USABLE[backend].same_bits:
        assert bits(result.output.toarray()) == bits(expected)
    else:
        assert nearly_equal(result.output, sp.csr_array(expected))


@settings(max_examples=8 if JIT_DISABLED else 60)
@given(
    case=own_activations(smooth=True, widest=40, most_rows=66), threads=st.sampled_from([1, 2]), columns=COLUMNS,
    by_rows=st.booleans(),
)  # fmt: skip
def test_direct_calls_have_the_bits_of_the_reference(case: Case, threads: int, columns: str, by_rows: bool) -> None:
    network = SlicedNetwork(packed(case.network, KernelOptions("auto", columns=columns)), threads)
    if by_rows:
        network.pack_rows()
    x = np.resize(case.inputs.toarray(), (66, case.network.n_inputs)).astype(np.float32)
    whole, out = reference(case.network, x), np.empty((66, case.network.n_outputs), np.float32)
    for n in (1, 3, 5) if JIT_DISABLED else (1, 3, 9, 32, 33, 64, 66):
        assert network.run(x[-n:], out[:n]) is DirectOutcome.RIGHT
        assert bits(out[:n]) == bits(whole[-n:])
    network.close()


@settings(max_examples=EXAMPLES)
@given(case=own_activations(smooth=False, **SMALL))
def test_a_compiled_network_has_the_bits_of_the_naive_oracle(case: Case) -> None:
    x, expected = case.inputs.toarray(), naive(case)
    with sparsednn.compile(case.network, threads=2) as compiled:
        assert bits(compiled(x)) == bits(expected)
        assert compiled.categories(x).tolist() == oracle.categories(expected)


def wide_network(rng: np.random.Generator, widths: list[int]) -> sparsednn.Network:
    """Return a network whose neurons all have their own activation."""
    weights = [sp.random_array((n, m), density=0.05, rng=rng, dtype=np.float32) for n, m in pairwise(widths)]
    activations = [
        sparsednn.Activation.per_neuron(
            low=-rng.random(m), high=rng.random(m) + 1, function=rng.choice(["none", "tanh", "gelu"], m)
        )
        for m in widths[1:]
    ]
    bias = [rng.normal(size=m) for m in widths[1:]]
    return sparsednn.Network(weights, bias=bias, bias_on="all", activation=activations)


@pytest.mark.skipif(JIT_DISABLED, reason="only layers of 256 neurons and more are hashed: too wide for plain Python")
@pytest.mark.parametrize("kernel", ["rowwise_first", "udc_csc", "csc_csc", "dcsc_csc"])
def test_hashed_neurons_keep_their_activations(kernel: str, rng: np.random.Generator) -> None:
    network = wide_network(rng, [300, 512, 400, 10])
    x = (rng.random((20, 300)) * (rng.random((20, 300)) < 0.4)).astype(np.float32)
    result = sparsednn.infer(network, x, kernel=kernel, hashing="both", buckets=1, threads=2, output=True)
    assert result.output is not None
    assert bits(result.output.toarray()) == bits(reference(network, x))


@pytest.mark.skipif(JIT_DISABLED, reason="too wide for plain Python")
@pytest.mark.parametrize("columns", ["none", "merge"])
def test_layers_in_files_have_their_activations(
    columns: str, rng: np.random.Generator, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path_factory.mktemp("layers")))
    network = wide_network(rng, [50, 60, 70, 10])
    x = rng.random((20, 50)).astype(np.float32)
    for _ in range(2):  # written, then read again
        result = sparsednn.infer(network, x, residency="stream", columns=columns, output=True)
        assert result.output is not None
        assert bits(result.output.toarray()) == bits(reference(network, x))


@pytest.mark.parametrize("kernel", sorted(USABLE["numba"].same_bits))
def test_instances_that_die_get_what_each_neuron_makes_of_zero(kernel: str) -> None:
    """The second neuron makes 0.5 of zero; an instance of zeros, and one whose sums are all zero, have it too."""
    first = sparsednn.Activation.per_neuron(low=0.0, high=[4.0, 1.0])
    second = sparsednn.Activation.per_neuron(function=["none", "sigmoid"])
    network = sparsednn.Network([sp.eye_array(2), sp.eye_array(2)], activation=[first, second])
    x = np.array([[0, 0], [-3, -2], [9, 0], [9, 9]], np.float32)
    for threads in (1, 2):
        result = sparsednn.infer(network, x, kernel=kernel, threads=threads, rows="merge", output=True)
        assert result.output is not None
        sigmoid = np.float32(1 / (1 + np.exp(-1.0)))
        assert result.output.toarray().tolist() == [[0, 0.5], [0, 0.5], [4, 0.5], [4, sigmoid]]
        assert result.categories.tolist() == [1, 2, 3, 4]


def test_instances_that_are_saturated_are_retired_only_by_layers_of_one_clamp() -> None:
    """Every neuron is at 2 before the last layer, whose neurons differ."""
    last = sparsednn.Activation.per_neuron(high=[3.0, 1.0])
    network = sparsednn.Network([sp.csr_array(np.ones((2, 2)))] * 3, activation=[sparsednn.clipped_relu(2)] * 2 + [last])
    result = sparsednn.infer(network, np.full((9, 2), 5.0), rows="retire", output=True)
    assert result.output is not None
    assert result.output.toarray().tolist() == [[3, 1]] * 9


@pytest.mark.skipif(ON_HOST not in USABLE, reason="no C++ compiler to compile the GPU kernels for the host")
def test_a_kernel_that_does_not_know_an_activation_names_itself() -> None:
    network = sparsednn.Network([sp.eye_array(2)], activation=sparsednn.gelu())
    refused = "kernel=cusparse_spgemm: layer 1 has activation 'gelu', .* use kernel=fused"
    with pytest.raises(ValueError, match=refused):
        sparsednn.infer(network, np.ones((2, 2)), backend=USABLE[ON_HOST], kernel="cusparse_spgemm")
