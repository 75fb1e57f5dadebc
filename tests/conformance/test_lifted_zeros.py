"""Activations that make something else than zero of a sum of zero: every output of every instance is theirs, dead or alive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.simulator.profile import measure_profile
from tests.backends import KERNELS, USABLE

TENTH = np.float32(0.1)


@pytest.mark.parametrize("rows", ["none", "prune", "retire", "merge"])
@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_an_instance_that_is_all_zero_gets_the_lower_limit_everywhere(backend: str, kernel: str, rows: str) -> None:
    network = sparsednn.Network([sp.eye_array(2)], activation=sparsednn.Activation("floor", 0.1, 1.0))
    result = sparsednn.infer(
        network, np.array([[1, 0], [0, 0]]), backend=USABLE[backend], kernel=kernel, rows=rows, output=True
    )
    assert result.output.toarray().tolist() == [[1, TENTH], [TENTH, TENTH]]
    assert result.categories.tolist() == [1, 2]


@pytest.mark.parametrize("bias_on", ["nonzero", "all"])
@pytest.mark.parametrize(("backend", "kernel"), KERNELS)
def test_sums_of_zero_are_lifted_after_the_bias(backend: str, kernel: str, bias_on: Any) -> None:
    """An upper limit below zero lets a bias of one come out only where the next sum is not zero."""
    ceiling, window = sparsednn.Activation("ceiling", -math.inf, -0.5), sparsednn.Activation("window", 0.25, 2.0)
    network = sparsednn.Network(
        [sp.diags_array([1.0, 0.0]), sp.diags_array([-1.0, 0.0])],
        bias=[0.0, 1.0],
        bias_on=bias_on,
        activation=[ceiling, window],
    )
    result = sparsednn.infer(
        network, np.array([[-0.75, 0], [0, 0]]), backend=USABLE[backend], kernel=kernel, threads=1, output=True
    )
    second = 1.0 if bias_on == "all" else 0.25
    assert result.output.toarray().tolist() == [[1.75, second], [1.5, second]]


@pytest.mark.parametrize("backend", ["numba", "scipy_reference"])
def test_work_is_counted_as_that_of_full_rows(backend: str) -> None:
    network = sparsednn.Network([sp.eye_array(3)] * 2, activation=sparsednn.Activation("floor", 0.1, 1.0))
    profile = measure_profile(network, np.diag([1.0, 0, 0]), 1, backend, cache=False)
    assert profile.nonzeros.tolist() == [[1, 0, 0], [3, 3, 3], [3, 3, 3]]
    assert not profile.zeros_stay.any()
