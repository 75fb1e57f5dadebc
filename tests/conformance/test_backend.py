"""One suite that every installed backend runs, with each of its kernels."""

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsednn
from sparsednn.backend import Backend
from sparsednn.schedulers import Action, Event, Finished, Job, Run, Scheduler, Started, Stop
from tests import oracle
from tests.backends import KERNELS, NAMES, ON_HOST, USABLE, agree
from tests.conftest import JIT_DISABLED
from tests.networks import Case, cases

REFERENCE = "scipy_reference"
ROWS = st.sampled_from(["none", "prune", "retire", "merge"])
COLUMNS = st.sampled_from(["none", "merge"])
ORDER = st.sampled_from(["given", "shared_inputs"])


class Queue(Scheduler):
    """Any number of row groups, taken from one queue."""

    name = "queue"

    def __init__(self, n_groups: int) -> None:
        super().__init__()
        self.n_groups = n_groups

    def n_row_groups(self, n_workers: int) -> int:
        return self.n_groups

    def start(self, job: Job) -> None:
        self.waiting = list(range(job.n_row_groups))

    def on_event(self, event: Event) -> list[Action]:
        assert isinstance(event, Started | Finished)
        return [Run(event.worker, self.waiting.pop(0))] if self.waiting else [Stop(event.worker)]


_references: dict[bytes, sparsednn.Result] = {}


def reference(case: Case) -> sparsednn.Result:
    """What the reference makes of a case; it is asked once for each, since all kernels are given the same cases."""
    key = digest(case)
    if key not in _references:
        _references[key] = sparsednn.infer(case.network, case.inputs, backend=REFERENCE, threads=1, output=True)
    return _references[key]


def digest(case: Case) -> bytes:
    """Return a hash of all that a case's result depends on, which takes a small part of the time that the result does."""
    found = hashlib.blake2b(repr((case.network.bias_on, [layer.activation for layer in case.network.layers])).encode())
    for array in (*case.weights, *(layer.bias for layer in case.network.layers), case.inputs.toarray()):
        found.update(repr((array.shape, array.dtype)).encode() + array.tobytes())
    return found.digest()


def test_cases_that_differ_in_anything_have_references_of_their_own() -> None:
    """A case, and what is the same but for one weight, bias, activation, input, shape, or rule of the bias."""

    def case(weight: float = 1, bias: float = 0, low: float = 0, x: float = 1, n: int = 2, bias_on: str = "all") -> Case:
        weights = [np.full((n, 1), weight, np.float32)]
        activation = sparsednn.Activation("its own", low, 9.0)
        network = sparsednn.Network([sp.csr_array(weights[0])], bias=bias, bias_on=bias_on, activation=activation)  # type: ignore[arg-type]
        return Case(network, sp.csr_array(np.full((1, n), x, np.float32)), weights, [bias], [(low, 9.0)])

    others = [case(weight=2), case(bias=1), case(low=-1), case(x=2), case(n=3), case(bias_on="nonzero")]
    assert digest(case()) == digest(case())
    assert len({digest(one) for one in (case(), *others)}) == 1 + len(others)


@given(case=cases(widest=12, most_rows=8))
def test_the_reference_gives_the_bits_of_the_naive_oracle(case: Case) -> None:
    expected = oracle.infer(case.weights, case.bias, case.network.bias_on, case.limits, case.inputs.toarray())
    result = reference(case)
    assert result.output is not None
    assert (result.output.toarray() + np.float32(0)).tobytes() == (expected + np.float32(0)).tobytes()  # -0 and 0 are one
    assert result.categories.tolist() == oracle.categories(expected)


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
@given(
    case=cases(),
    rows=ROWS,
    columns=COLUMNS,
    order=ORDER,
    full=st.booleans(),
    empty=st.sampled_from(["walk", "skip"]),
    threads=st.integers(1, 8),
    block_rows=st.sampled_from([None, 1, 16, 48]),
)
def test_every_kernel_gives_what_the_reference_gives(
    backend: str, kernel: str, case: Case, rows: str, columns: str, order: str, full: bool, empty: str, threads: int,
    block_rows: int | None,
) -> None:  # fmt: skip
    expected = reference(case)
    result = sparsednn.infer(
        case.network, case.inputs, backend=USABLE[backend], kernel=kernel, threads=threads, output=True, rows=rows,
        columns=columns, order=order, full_columns=full, empty_columns=empty, block_rows=block_rows,
    )  # fmt: skip
    assert result.output is not None
    assert expected.output is not None
    assert agree(backend, kernel, result.output, expected.output)
    assert np.array_equal(result.categories, expected.categories)


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
@given(case=cases(), n_groups=st.integers(1, 20), rows=ROWS)
def test_results_do_not_depend_on_the_size_of_row_groups(
    backend: str, kernel: str, case: Case, n_groups: int, rows: str
) -> None:
    expected = reference(case)
    result = sparsednn.infer(
        case.network,
        case.inputs,
        backend=USABLE[backend],
        kernel=kernel,
        scheduler=Queue(n_groups),
        threads=2,
        output=True,
        rows=rows,
    )
    assert result.output is not None
    assert expected.output is not None
    assert agree(backend, kernel, result.output, expected.output)
    assert sum(worker["row_groups"] for worker in result.record["workers"]) == n_groups


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_more_threads_than_rows(
    backend: str, kernel: str, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    one = sparsednn.infer(small_network, small_inputs[:1], backend=REFERENCE, threads=1, output=True)
    result = sparsednn.infer(small_network, small_inputs[:1], backend=USABLE[backend], kernel=kernel, threads=5, output=True)
    assert agree(backend, kernel, result.output, one.output)
    assert len(result.record["workers"]) == (1 if USABLE[backend].own_threads else 5)
    assert result.record["threads"] == 5


WIDE = ("udc_csc", "csc_csc", "dcsc_csc", "csr_csr") if JIT_DISABLED else ("csc_csc",)
"""Our kernels with larger ids in every run: one is compiled for them, which takes many seconds; others run in plain Python."""
WITH_WIDE = [
    pytest.param(*param.values, id=param.id, marks=[*param.marks, pytest.mark.slow])
    if param.values[1] not in WIDE and (JIT_DISABLED or param.values[0] == "numba") else param
    for param in KERNELS
]  # fmt: skip


@pytest.mark.parametrize(("backend", "kernel"), WITH_WIDE)
def test_ids_of_more_than_sixteen_bits(backend: str, kernel: str, rng: np.random.Generator) -> None:
    """More rows in a group, and more neurons, than 65,536."""
    n = 66_000
    rows, columns = rng.permutation(n)[:3000], rng.integers(0, 4, 3000)
    wide = sp.csr_array((rng.normal(size=3000), (rows, columns)), shape=(n, 4))
    network = sparsednn.Network([wide, sp.csr_array(rng.normal(size=(4, 3)))], bias=0.1)
    inputs = sp.csr_array((np.ones(n), (np.arange(n), rng.permutation(n))), shape=(n, n))
    dense = ("numpy_dense", "torch_dense", "onnxruntime")  # which have no ids, but a value for each input of an instance
    inputs = inputs[:: 100 if backend in (*dense, ON_HOST) else 1]  # and the host's ids have 32 bits anyway
    if JIT_DISABLED:  # few instances: those of the largest ids that have a weight
        inputs = inputs[np.isin(inputs.indices, np.sort(rows)[-20:])]
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, threads=1, output=True)
    result = sparsednn.infer(network, inputs, backend=USABLE[backend], kernel=kernel, threads=1, output=True)
    assert agree(backend, kernel, result.output, expected.output)
    assert 0 < len(result.categories) < inputs.shape[0]


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_no_rows_at_all(backend: str, kernel: str, small_network: sparsednn.Network) -> None:
    result = sparsednn.infer(
        small_network, sp.csr_array((0, 12)), backend=USABLE[backend], kernel=kernel, threads=2, output=True
    )
    assert result.output.shape == (0, 12)
    assert len(result.categories) == 0


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_all_rows_die(backend: str, kernel: str) -> None:
    weights = [sp.csr_array(np.full((3, 5), -1.0)), sp.csr_array(np.full((5, 70), 1.0)), sp.csr_array(np.full((70, 2), 1.0))]
    inputs = sp.csr_array(np.ones((40, 3)))
    for rows in ("none", "prune", "retire", "merge"):
        result = sparsednn.infer(
            sparsednn.Network(weights), inputs, backend=USABLE[backend], kernel=kernel, rows=rows, output=True
        )
        assert result.output.shape == (40, 2)
        assert result.output.nnz == 0
        assert len(result.categories) == 0


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_a_bias_that_applies_to_zeros_revives_rows(backend: str, kernel: str) -> None:
    """Rows of zeros must not be dropped before a layer whose bias makes something of them."""
    weights = [sp.csr_array((4, 4)), sp.csr_array(np.eye(4)), sp.csr_array(np.eye(4))]
    network = sparsednn.Network(weights, bias=[0.0, 0.5, 0.0], bias_on="all")
    result = sparsednn.infer(network, sp.csr_array((20, 4)), backend=USABLE[backend], kernel=kernel, output=True)
    assert (result.output.toarray() == 0.5).all()
    assert len(result.categories) == 20


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_performed_multiply_adds_are_counted(backend: str, kernel: str) -> None:
    """Two layers of 3 connections on 2 instances, no zeros anywhere: 12, whatever the kernel."""
    network = sparsednn.Network([sp.csr_array(np.eye(3)), sp.csr_array(np.eye(3))])
    result = sparsednn.infer(network, np.ones((2, 3)), backend=USABLE[backend], kernel=kernel, threads=1, rows="none")
    assert result.record["performed_edges"] == 12


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_activations_that_overflow_are_refused(backend: str, kernel: str) -> None:
    network = sparsednn.Network([sp.csr_array(np.full((2, 2), 3e38))] * 3, activation=sparsednn.identity())
    inputs = np.zeros((5, 2))
    inputs[3] = 1
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match=r"instance 4: .*overflowed"):
        sparsednn.infer(network, inputs, backend=USABLE[backend], kernel=kernel)


@pytest.mark.skipif(JIT_DISABLED, reason="the whole challenge takes minutes without the JIT")
@pytest.mark.parametrize(("backend", "kernel"), [k for k in KERNELS if k.values[0] != REFERENCE])
@pytest.mark.parametrize("threads", [1, 3])
def test_challenge_rows_agree_with_the_reference(
    backend: str, kernel: str, threads: int, challenge_network: sparsednn.Network, challenge_rows: sp.csr_array
) -> None:
    rows = challenge_rows[:700]
    result = sparsednn.infer(challenge_network, rows, backend=USABLE[backend], kernel=kernel, threads=threads, output=True)
    assert agree(backend, kernel, result.output, challenge_reference(challenge_network, rows))


_memo: dict[int, sp.csr_array] = {}


def challenge_reference(network: sparsednn.Network, rows: sp.csr_array) -> sp.csr_array:
    """The reference's output after so many layers, computed once."""
    n_layers = len(network.layers)
    if n_layers not in _memo:
        output = sparsednn.infer(network, rows, backend=REFERENCE, threads=1, output=True).output
        assert output is not None
        _memo[n_layers] = output
    return _memo[n_layers]


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_the_interface(name: str) -> None:
    backend = USABLE[name]
    methods = [method for method in vars(Backend) if not method.startswith("_") and callable(getattr(Backend, method))]
    assert len(methods) <= 8
    for method in methods:
        expected = list(inspect.signature(getattr(Backend, method)).parameters)
        assert list(inspect.signature(getattr(type(backend), method)).parameters) == expected, method


@pytest.mark.parametrize("name", NAMES)
def test_unknown_kernels_are_refused_with_the_legal_names(name: str) -> None:
    network = sparsednn.Network([sp.csr_array(np.eye(2))])
    with pytest.raises(ValueError, match=r"kernel=udc_csr: .*legal: auto, .*(cs[cr]|fused|udc)"):
        sparsednn.infer(network, np.ones((1, 2)), backend=USABLE[name], kernel="udc_csr")
