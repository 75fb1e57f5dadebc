"""Every combination of the switches gives the reference's bits, on each network that is drawn."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from tests.backends import same_bits
from tests.conftest import JIT_DISABLED
from tests.covering import covering
from tests.networks import Case, cases

KERNELS = ("rowwise_first", "udc_csc")
COMBINATIONS = [
    {"rows": rows, "columns": columns, "order": order}
    for rows, columns, order in product(("none", "prune", "retire", "merge"), ("none", "merge"), ("given", "shared_inputs"))
]


def check_all(kernel: str, network: sparsednn.Network, inputs: sp.csr_array, threads: int, block_rows: int) -> None:
    """Run all combinations; each must say that it was really on, and change no bit of activations or categories."""
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", threads=1, output=True)
    assert expected.output is not None
    for switches in COMBINATIONS:
        result = sparsednn.infer(
            network, inputs, kernel=kernel, threads=threads, block_rows=block_rows, output=True, **switches
        )  # fmt: skip
        assert result.output is not None
        assert same_bits(result.output, expected.output), switches
        assert np.array_equal(result.categories, expected.categories), switches
        assert {name: result.record["optimizations"][name] for name in switches} == switches


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=3 if JIT_DISABLED else 15)
@given(
    case=cases(widest=20, most_rows=20, most_layers=3) if JIT_DISABLED else cases(widest=90, most_rows=120, most_layers=9),
    threads=st.integers(1, 3),
    block_rows=st.sampled_from([16, 32, 64]),
)
def test_all_switches_on_networks_of_every_kind(kernel: str, case: Case, threads: int, block_rows: int) -> None:
    check_all(kernel, case.network, case.inputs, threads, block_rows)


ACTIVATIONS = {"relu": sparsednn.relu(), "clipped": sparsednn.clipped_relu(1.5), "identity": sparsednn.identity()}


def random_case(
    rng: np.random.Generator, width: int, n_layers: int, density: float, activation: str, bias_on: str, repeated: bool
) -> tuple[sparsednn.Network, sp.csr_array]:
    """Unequal weights of both signs and a bias for each neuron; columns and instances repeat, or none does."""
    weights, biases = [], []
    for _ in range(n_layers):
        dense = np.where(rng.random((width, width)) < density, rng.normal(size=(width, width)), 0) / np.sqrt(density * width)
        bias = rng.normal(scale=0.3, size=width)
        same = rng.integers(0, width // 3, width) if repeated else np.arange(width)
        weights.append(sp.csr_array(dense[:, same]))
        biases.append(bias[same])
    inputs = np.where(rng.random((150, width)) < 0.3, rng.random((150, width)), 0)
    inputs[::7] = 0
    if repeated:
        inputs = inputs[rng.integers(0, 40, 150)]
    network = sparsednn.Network(weights, bias=biases, bias_on=bias_on, activation=ACTIVATIONS[activation])  # type: ignore[arg-type]
    return network, sp.csr_array(inputs.astype(np.float32))


STRUCTURES = {"no structure": False, "columns and instances repeat": True}
NETWORKS = ([0.02, 0.3], [*ACTIVATIONS], ["all", "nonzero"], [*STRUCTURES])
ON_NETWORKS = [(kernel, *values) for kernel, *values in covering([(kernel,) for kernel in KERNELS], *NETWORKS)]


def check_random(kernel: str, density: float, activation: str, bias_on: str, structure: str, rng: np.random.Generator) -> None:
    """Wider than a vector tile, deeper than some checkpoints, and more instances than fit in a block."""
    network, inputs = random_case(rng, 130, 7, density, activation, bias_on, STRUCTURES[structure])
    check_all(kernel, network, inputs, threads=2, block_rows=48)


@pytest.mark.skipif(JIT_DISABLED, reason="too much work for plain Python")
@pytest.mark.parametrize(("kernel", "density", "activation", "bias_on", "structure"), ON_NETWORKS)
def test_all_switches_on_random_networks(
    kernel: str, density: float, activation: str, bias_on: str, structure: str, rng: np.random.Generator
) -> None:
    check_random(kernel, density, activation, bias_on, structure, rng)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_all_switches_on_random_networks_in_all_combinations(kernel: str, rng: np.random.Generator) -> None:
    for density, activation, bias_on, structure in product(*NETWORKS):
        check_random(kernel, density, activation, bias_on, structure, rng)
