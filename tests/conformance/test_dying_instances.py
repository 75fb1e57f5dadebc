"""Instances that nearly all die at once: what is left of sparse columns is full, though stored in the order it was reached."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from tests.backends import KERNELS, USABLE, agree
from tests.conformance.test_backend import REFERENCE


@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
@pytest.mark.parametrize("full_columns", [True, False])
@pytest.mark.parametrize("n_alive", [2, 3, 4])
def test_columns_whose_rows_were_reached_out_of_order(backend: str, kernel: str, full_columns: bool, n_alive: int) -> None:
    """Input i is nonzero in one of the last instances only, the last one first; the other instances end after one layer."""
    n_rows = 20
    inputs = np.zeros((n_rows, n_alive + 1), np.float32)
    inputs[:, n_alive] = 0.5  # dies by the bias
    for i in range(n_alive):
        inputs[n_rows - 1 - i, i] = 2 + i
    first = np.zeros((n_alive + 1, 3), np.float32)
    first[:n_alive, 0], first[n_alive, 1], first[0, 2] = 1, 1, 1
    second = np.array([[1.0, 3.0], [1.0, 0.0], [0.5, 0.25]], np.float32)
    network = sparsednn.Network([sp.csc_array(first), sp.csc_array(second), sp.csc_array(second.T)], bias=-1.0)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, threads=1, output=True)
    result = sparsednn.infer(
        network, inputs, backend=USABLE[backend], kernel=kernel, threads=1, output=True, full_columns=full_columns
    )  # fmt: skip
    assert result.output is not None
    assert expected.output is not None
    assert expected.output.nnz > 0
    assert agree(backend, kernel, result.output, expected.output)
