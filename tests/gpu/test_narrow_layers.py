"""Runs of narrow layers in one launch, activations in shared memory: the reference's bits, and how many launches there are."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.kernels.source import MANY, SHARED_BYTES
from backends.cupy_gpu.layout.narrow import WIDEST, shape
from backends.cupy_gpu.layout.packing import pack_network
from backends.cupy_gpu.plan import AT_ONCE, stretches
from sparsednn.backend import KernelOptions
from tests import oracle
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.conformance.test_schedulers import eager
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")

MOST_LAUNCHES = 40
"""Of a network of 1,920 layers, with all that is done for its instances."""


def launches(device: HostDevice) -> Counter[str]:
    """How often each kernel was launched."""
    return Counter(what for _, did, what in device.log if did == "put" and (what.startswith("layer") or what.endswith("_rows")))


class Counting(CupyBackend):
    """One device, whose log begins when it is warm."""

    def __init__(self) -> None:
        self.device = HostDevice()
        super().__init__([self.device])

    def warm_up(self, plan: Any, largest_group: int) -> None:
        super().warm_up(plan, largest_group)
        self.device.log.clear()


def network_of(rng: np.random.Generator, widths: list[int], kind: str, bias_on: str = "nonzero") -> sparsednn.Network:
    """Layers with columns of all lengths, and with weights that differ, are one number, or a power of two."""
    weights = []
    for n, m in pairwise(widths):
        pattern = rng.random((n, m)) < rng.random(m) * min(12 / n, 1)
        values = {"each": rng.normal(size=(n, m)), "one": np.full((n, m), 0.3), "power of two": np.full((n, m), 0.25)}[kind]
        weights.append(sp.csc_array(np.where(pattern, values, 0).astype(np.float32)))
    biases = [rng.normal(0.5, 1, m).astype(np.float32) for m in widths[1:]]
    return sparsednn.Network(weights, bias=biases, bias_on=bias_on, activation=sparsednn.clipped_relu(4.0))  # type: ignore[arg-type]


def inputs_of(rng: np.random.Generator, n: int, n_inputs: int) -> sp.csr_array:
    return sp.csr_array(np.where(rng.random((n, n_inputs)) < 0.3, rng.normal(size=(n, n_inputs)), 0).astype(np.float32))


@pytest.mark.parametrize("kind", ["each", "one", "power of two"])
@pytest.mark.parametrize(
    ("widths", "bias_on"),
    [
        pytest.param([50, 64, 33, 64, 5, 7, 64], "nonzero", id="64 wide: 128 instances a block"),
        pytest.param([WIDEST, 130, 65, WIDEST, 3], "all", id="256 wide: 32 instances a block"),
        pytest.param([300, 100, 31, 128, 400, 20, 10], "nonzero", id="between wide ones"),
    ],
)
def test_a_run_of_narrow_layers_has_the_bits_of_the_oracle(
    kind: str, widths: list[int], bias_on: str, rng: np.random.Generator
) -> None:
    network, inputs, backend = network_of(rng, widths, kind, bias_on), inputs_of(rng, 130, widths[0]), Counting()
    layers = [layer.to_scipy().toarray() for layer in network.layers]
    limits: Any = [(0.0, 4.0)] * len(layers)
    expected = oracle.infer(layers, [layer.bias for layer in network.layers], bias_on, limits, inputs.toarray()[:40])
    result = sparsednn.infer(network, inputs, backend=backend, rows="none", columns="none", output=True)
    assert result.output is not None
    assert np.count_nonzero(expected) > 5
    assert result.output.toarray()[:40].tobytes() == (expected + np.float32(0)).tobytes()
    assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert launches(backend.device)[MANY] == 1


ACTIVATIONS = [
    sparsednn.leaky_relu(0.1),
    sparsednn.gelu(),
    sparsednn.Activation.per_neuron(low=np.linspace(-1, 0, 40), high=2.0),
    sparsednn.clipped_relu(3.0),
]


@pytest.mark.parametrize("rows", ["none", "prune", "merge"])
def test_layers_in_a_run_have_activations_of_their_own(rows: str, rng: np.random.Generator) -> None:
    weights = [sp.csc_array(np.where(rng.random((40, 40)) < 0.2, rng.normal(size=(40, 40)), 0)) for _ in ACTIVATIONS]
    network = sparsednn.Network(weights, bias=[rng.normal(size=40) for _ in weights], activation=ACTIVATIONS)
    inputs, backend = inputs_of(rng, 200, 40), Counting()
    result = sparsednn.infer(network, inputs, backend=backend, rows=rows, output=True)
    assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert launches(backend.device)[MANY] > 0


def test_denormal_numbers_are_kept_in_a_run(rng: np.random.Generator) -> None:
    weights = [sp.csc_array((rng.random((30, 30)) < 0.3) * np.float32(factor)) for factor in (1e-20, 1e-18, 1e3, 1e-4)]
    network = sparsednn.Network(weights, bias=[0.0, 0.0, 0.0, 1.0], bias_on="nonzero", activation=sparsednn.relu())
    inputs, backend = sp.csr_array((10.0 ** rng.uniform(-6, 3, (60, 30))).astype(np.float32)), Counting()
    inputs.data[rng.random(inputs.nnz) < 0.8] = 0
    result = sparsednn.infer(network, inputs, backend=backend, rows="none", columns="none", output=True)
    assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert launches(backend.device)[MANY] == 1


def deep(rng: np.random.Generator, n_layers: int) -> tuple[sparsednn.Network, sp.csr_array]:
    """A network as wide as the challenge's of 1,024 neurons when it is merged; instances die all along."""
    shifts = [sp.csc_array((np.eye(64) + np.roll(np.eye(64), step, axis=1)).astype(np.float32) / 2) for step in (1, 5, 11)]
    network = sparsednn.Network([shifts[i % 3] for i in range(n_layers)], bias=-0.0001, activation=sparsednn.clipped_relu(32.0))
    return network, sp.csr_array((rng.random((300, 64)) * np.geomspace(0.001, 1, 300)[:, None]).astype(np.float32))


@pytest.mark.parametrize("rows", ["prune", "none"])
def test_a_deep_network_takes_few_launches(rows: str, rng: np.random.Generator) -> None:
    (network, inputs), backend = deep(rng, 1920), Counting()
    result = sparsednn.infer(network, inputs, backend=backend, rows=rows, columns="none", order="given", threads=1, output=True)
    assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert result.output is not None
    assert 0 < np.count_nonzero(result.output.sum(axis=1)) < 300, "some die, some live"
    found = launches(backend.device)
    assert sum(found.values()) <= MOST_LAUNCHES, found
    assert found[MANY] >= 8


def test_schedulers_are_heard_within_a_long_run() -> None:
    found = stretches(np.zeros(1001, np.bool_), np.full(1000, 1000))
    assert (found[0], found[999]) == (AT_ONCE, 1000)


@pytest.mark.parametrize(
    ("runs", "checks", "expected"),
    [
        pytest.param([0, 4, 4, 4, 0], ".....#", [1, 4, 4, 4, 5], id="a run between others"),
        pytest.param([6, 6, 6, 6, 6, 6], "..#....", [2, 2, 6, 6, 6, 6], id="a checkpoint within"),
        pytest.param([2, 2, 5, 5, 5], "......", [2, 2, 5, 5, 5], id="two runs"),
    ],
)
def test_a_stretch_is_a_run_or_a_part_of_one(runs: list[int], checks: str, expected: list[int]) -> None:
    assert stretches(np.array([one == "#" for one in checks]), np.array(runs)) == expected


@pytest.mark.parametrize("options", [{"residency": "stream"}, {"scheduler": eager("model"), "threads": 2}])
def test_layers_that_are_streamed_or_shared_by_a_team_go_one_by_one(options: dict[str, Any], rng: np.random.Generator) -> None:
    network, inputs = deep(rng, 9)
    devices = [HostDevice(0), HostDevice(1)]
    result = sparsednn.infer(network, inputs, backend=CupyBackend(devices), rows="none", columns="none", output=True, **options)
    assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)


def test_a_runs_shared_memory_is_what_every_device_has(rng: np.random.Generator) -> None:
    """And its threads have registers for all outputs of the widest layer."""
    for widest, lanes in ((1, 32), (64, 32), (65, 16), (128, 16), (129, 8), (WIDEST, 8)):
        layers = pack_network(network_of(rng, [3, widest, 2], "each"), KernelOptions(columns="none"), fused=True).layers
        assert shape(layers) == (lanes, 16 * lanes * max(widest, 3))
        assert shape(layers)[1] <= SHARED_BYTES


def test_layers_that_are_too_wide_are_in_no_run(rng: np.random.Generator) -> None:
    network = network_of(rng, [WIDEST + 1, 20, 30, 20, WIDEST + 1, 20, 30], "each")
    packed = pack_network(network, KernelOptions(columns="none"), fused=True)
    assert packed.narrow is not None
    assert packed.narrow.ends.tolist() == [0, 3, 3, 0, 0, 0]
