"""Hashing changes no result: not a bit where the order of additions stays the same, and nothing beyond rounding elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from sparsednn.options.groups import HASHINGS
from tests.backends import KERNELS, USABLE, nearly_equal, same_bits
from tests.conformance.test_backend import REFERENCE, reference
from tests.conftest import JIT_DISABLED
from tests.networks import Case, cases

SAME_BITS = ("rowwise_first", "udc_csc", "csc_csc", "dcsc_csc", "fused")
"""Kernels that add up a column's entries as they are stored: in the order of the original ids."""

pytestmark = pytest.mark.skipif(
    JIT_DISABLED, reason="only layers of 256 neurons and more are hashed: too wide for plain Python"
)


SCALES = (0.02, 0.05)
"""Weights that keep activations of some hundred neurons near 1, so that rounding is small beside the last ones too."""


def check(result: sparsednn.Result, expected: sparsednn.Result, backend: str, kernel: str, hashing: str) -> None:
    assert np.array_equal(result.categories, expected.categories)
    if kernel in USABLE[backend].same_bits and (hashing in ("none", "input") or kernel in SAME_BITS):
        assert same_bits(result.output, expected.output)
    else:
        assert nearly_equal(result.output, expected.output)


OPTIONS: dict[str, Any] = {
    "case": cases(narrowest=200, widest=700, most_rows=30, most_layers=3, scales=SCALES),
    "buckets": st.integers(1, 2),
    "threads": st.integers(1, 3),
    "order": st.sampled_from(["given", "shared_inputs"]),
    "rows": st.sampled_from(["none", "prune"]),
}


def check_case(backend: str, kernel: str, hashing: str, case: Case, **options: Any) -> None:
    """Run a case with hashed neurons."""
    result = sparsednn.infer(
        case.network, case.inputs, backend=USABLE[backend], kernel=kernel, hashing=hashing, output=True, **options
    )  # fmt: skip
    check(result, reference(case), backend, kernel, hashing)
    assert result.record["hashing"] == hashing
    assert result.record["input_nnz"] == case.inputs.nnz


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
@pytest.mark.parametrize("hashing", HASHINGS)
@settings(max_examples=5)
@given(options=st.fixed_dictionaries(OPTIONS))
def test_every_kernel_gives_the_same_with_every_hashing(
    backend: str, kernel: str, hashing: str, options: dict[str, Any]
) -> None:
    """Few networks for each kernel and hashing, and dozens for each hashing."""
    check_case(backend, kernel, hashing, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
@pytest.mark.parametrize("hashing", HASHINGS)
@settings(max_examples=60)
@given(options=st.fixed_dictionaries(OPTIONS))
def test_every_kernel_and_hashing_on_many_networks(backend: str, kernel: str, hashing: str, options: dict[str, Any]) -> None:
    check_case(backend, kernel, hashing, **options)


@pytest.fixture(scope="module")
def challenge(
    challenge_network: sparsednn.Network, challenge_rows: sp.csr_array
) -> tuple[sparsednn.Network, sp.csr_array, sparsednn.Result]:
    """Return the layers in which instances die and become saturated, some instances, and the reference's result."""
    rows, network = challenge_rows[:300], sparsednn.Network.from_layers(challenge_network.layers[:48])
    return network, rows, sparsednn.infer(network, rows, backend=REFERENCE, threads=1, output=True)


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
@pytest.mark.parametrize("hashing", ["layer", "both"])
def test_the_challenge_with_hashed_neurons(
    backend: str, kernel: str, hashing: str, challenge: tuple[sparsednn.Network, sp.csr_array, sparsednn.Result]
) -> None:
    network, rows, expected = challenge
    result = sparsednn.infer(network, rows, backend=USABLE[backend], kernel=kernel, hashing=hashing, threads=2, output=True)
    check(result, expected, backend, kernel, hashing)
    assert 0 < len(result.categories) < 300
    assert result.record["performed_edges"] == expected.record["performed_edges"] or kernel.startswith(
        ("udc", "rowwise_first", "blas", "fast", "fused", "cusparse")
    )
