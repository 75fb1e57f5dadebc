"""Denormal numbers are numbers: no kernel takes them for zeros, as compilers and processors do that are told to hurry."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from tests.backends import KERNELS, USABLE, same_bits
from tests.conformance.test_backend import REFERENCE

EXACT = [
    case for case in KERNELS if case.values[0] not in USABLE or case.values[1] in USABLE[str(case.values[0])].same_bits
]  # fmt: skip
FACTORS = (1e-20, 1e-18, 1e3, 1e-4)


def tiny() -> tuple[sparsednn.Network, sp.csr_array]:
    """Activations become denormal, below 1.2e-38, then normal again where they were not lost, and denormal sums in the end.

    A sum that is not zero gets its bias, which says whether it was taken for one. The least of all numbers are lost everywhere.
    """
    weights = [sp.csc_array((np.eye(8) + 3 * np.eye(8, k=1)).astype(np.float32) * np.float32(factor)) for factor in FACTORS]
    inputs = (10.0 ** np.linspace(3, -7, 40 * 8)).reshape(40, 8).astype(np.float32)
    return sparsednn.Network(weights, bias=[0.0, 0.0, 0.0, 1.0], bias_on="nonzero"), sp.csr_array(inputs)


@pytest.mark.parametrize(("backend", "kernel"), EXACT)
def test_denormal_numbers_are_not_zeros(backend: str, kernel: str) -> None:
    network, inputs = tiny()
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    result = sparsednn.infer(network, inputs, backend=USABLE[backend], kernel=kernel, output=True, threads=1)
    assert same_bits(result.output, expected.output)


def test_the_network_has_denormal_numbers_in_it() -> None:
    """Numbers of every kind lead to what is held: a sum that is flushed loses its bias, and one that is not has it."""
    network, inputs = tiny()
    sums = inputs.toarray()
    n_denormal = 0
    for layer in network.layers:
        sums = sums @ layer.to_scipy().toarray()
        n_denormal += int(((sums > 0) & (sums < np.finfo(np.float32).tiny)).sum())
    assert n_denormal > 20
    found = sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output.toarray()
    assert 0 < (found == 1).sum() < found.size
