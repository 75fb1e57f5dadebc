"""Layers in which the outputs of a thread have the same inputs: the bits of the oracle, and of what is only added as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.kernels.fused import FusedKernel
from backends.cupy_gpu.kernels.source import ADDED, OUTPUTS, shared_kernel
from backends.cupy_gpu.layout.magnitudes import Magnitudes, after, scales_after_adding
from backends.cupy_gpu.layout.packed import PackedNetwork
from backends.cupy_gpu.layout.packing import pack_network
from sparsednn.backend import KernelOptions
from tests import oracle
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice
from tests.gpu.test_kernels import block_of, lane, values

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")

OPTIONS = KernelOptions(columns="none", order="given")


def shared(rng: np.random.Generator, n_inputs: int, n_outputs: int, uniform: bool) -> np.ndarray:
    """Weights of which four outputs at a time have the same inputs: some of them, all, or none."""
    n_quads = -(-n_outputs // OUTPUTS)
    pattern = np.repeat(rng.random((n_inputs, n_quads)) < rng.random(n_quads), OUTPUTS, axis=1)[:, :n_outputs]
    pattern[:, OUTPUTS : 2 * OUTPUTS] = False
    weights = np.full(pattern.shape, 0.375) if uniform else rng.normal(size=pattern.shape)
    return np.where(pattern, weights, 0).astype(np.float32)


def run(packed: PackedNetwork, number: int, rows: np.ndarray) -> np.ndarray:
    """The activations that a layer makes of rows, instance by instance."""
    on, kernel, layer = lane(len(rows)), FusedKernel(), packed.layers[number]
    block, store = block_of(on, rows, True), on.upload(packed.store)
    y = on.device.empty(layer.n_outputs * block.n_padded, np.float32)
    slices = (0, len(layer.slice_work) - 1)
    made = store[layer.at : layer.at + layer.n_bytes]
    assert kernel.compute(on, packed, layer, made, block, y, (None, None), slices) == len(rows) * layer.nnz
    return values(replace(block, x=y, n_neurons=layer.n_outputs))


@pytest.mark.parametrize("uniform", [True, False], ids=["one weight", "weights"])
@pytest.mark.parametrize(("n_inputs", "n_outputs", "n"), [(1, 4, 1), (33, 31, 127), (7, 200, 130), (60, 65, 129)])
def test_outputs_that_share_inputs_have_the_bits_of_the_oracle(
    uniform: bool, n_inputs: int, n_outputs: int, n: int, rng: np.random.Generator
) -> None:
    w = shared(rng, n_inputs, n_outputs, uniform)
    w[0, :OUTPUTS] = 0.375 if uniform else np.arange(1, OUTPUTS + 1)
    bias = rng.normal(size=n_outputs).astype(np.float32)
    rows = np.where(rng.random((n, n_inputs)) < 0.6, rng.normal(size=(n, n_inputs)), 0).astype(np.float32)
    packed = pack_network(sparsednn.Network([sp.csc_array(w)], bias=[bias], activation=sparsednn.relu()), OPTIONS, fused=True)
    assert packed.layers[0].kernel == shared_kernel(uniform=uniform)
    expected = oracle.infer([w], [bias], "all", [(0.0, np.inf)], rows)
    assert run(packed, 0, rows).tobytes() == (expected + np.float32(0)).tobytes()


def one_output_more(w: np.ndarray) -> None:
    w[0, 3], w[1, 3] = 0, 1


def one_term_less(w: np.ndarray) -> None:
    w[0, 3] = 0


@pytest.mark.parametrize("change", [one_output_more, one_term_less])
def test_one_output_with_another_input_keeps_a_layer_from_sharing(change: Any) -> None:
    w = np.zeros((8, 8), np.float32)
    w[0] = w[2] = w[3] = 1
    assert pack_network(sparsednn.Network([sp.csc_array(w)]), OPTIONS, fused=True).layers[0].kernel.startswith("layer_shared")
    change(w)
    kernel = pack_network(sparsednn.Network([sp.csc_array(w)]), OPTIONS, fused=True).layers[0].kernel
    assert kernel == "layer_16_uniform_staged"


def two_layers(rng: np.random.Generator, weight: float, bias: float, high: float, n: int = 130) -> tuple[Any, ...]:
    """A layer, a second one with one weight and 24 terms an output, their biases, and activations between the two."""
    first = rng.normal(size=(32, 32)).astype(np.float32)
    second = np.zeros((32, 40), np.float32)
    for quad in range(10):
        second[rng.permutation(32)[:23], OUTPUTS * quad : OUTPUTS * (quad + 1)] = weight
    biases = [np.full(32, bias, np.float32), np.full(40, -abs(bias) * abs(weight), np.float32)]
    activation = sparsednn.Activation("clip", -high, high)
    network = sparsednn.Network([sp.csc_array(first), sp.csc_array(second)], bias=biases, bias_on="all", activation=activation)
    between = np.abs(rng.normal(size=(n, 32)).astype(np.float32) * np.float32(bias))
    between[: n // 2] *= np.float32(2) ** -rng.integers(0, 24, (n // 2, 32)).astype(np.float32)
    between = np.where(rng.random(between.shape) < 0.7, between, 0).astype(np.float32)
    return network, second, biases[1], between


@pytest.mark.parametrize(
    ("weight", "bias"),
    [(1 / 16, 0.3), (-1 / 16, 0.3), (2.0**-100, 1.7), (2.0**-60, 1e-12), (1.0, 1e-30), (2.0**80, 2.0**-37), (2.0**60, 1e-38)],
)
def test_sums_that_are_scaled_afterwards_have_the_same_bits(weight: float, bias: float, rng: np.random.Generator) -> None:
    """Where it is proven; activations come down to the least that the layer before can have."""
    network, w, second_bias, rows = two_layers(rng, weight, bias, 32.0)
    packed = pack_network(network, OPTIONS, fused=True)
    assert [layer.kernel for layer in packed.layers] == [shared_kernel(uniform=False), ADDED]
    least = after(network.layers[0].expanded(), bias_everywhere=True).least
    rows[(rows < least) & (rows > 0)] = least
    expected = oracle.infer([w], [second_bias], "all", [(-32.0, 32.0)], rows)
    assert np.count_nonzero(expected) > 100
    assert run(packed, 1, rows).tobytes() == (expected + np.float32(0)).tobytes()


@pytest.mark.parametrize(
    ("weight", "bias", "high"),
    [
        pytest.param(2.0**-100, 2.0**-40, 32.0, id="a product is denormal"),
        pytest.param(2.0**-10, 3e37, 1e38, id="a sum is infinite"),
    ],
)
def test_sums_are_not_scaled_afterwards_where_the_bits_would_differ(
    weight: float, bias: float, high: float, rng: np.random.Generator
) -> None:
    network, w, second_bias, rows = two_layers(rng, weight, bias, high)
    packed = pack_network(network, OPTIONS, fused=True)
    assert packed.layers[1].kernel == shared_kernel(uniform=True)
    expected = oracle.infer([w], [second_bias], "all", [(-high, high)], rows) + np.float32(0)
    assert run(packed, 1, rows).tobytes() == expected.tobytes()
    packed.layers[1] = replace(packed.layers[1], kernel=ADDED)
    assert run(packed, 1, rows).tobytes() != expected.tobytes(), "what is proven matters"


def layer_with(**given: Any) -> Any:
    network = sparsednn.Network([sp.csc_array(np.ones((3, 3), np.float32))], **given)
    return network.layers[0].expanded()


@pytest.mark.parametrize(
    ("layer", "everywhere", "expected"),
    [
        pytest.param(layer_with(bias=-0.3, activation=sparsednn.clipped_relu(32.0)), False, (2.0**-26, 32.0), id="challenge"),
        pytest.param(layer_with(bias=-0.3, activation=sparsednn.relu()), False, (2.0**-26, np.inf), id="no limit"),
        pytest.param(layer_with(bias=0.0, activation=sparsednn.clipped_relu(32.0)), False, (0.0, 32.0), id="no bias"),
        pytest.param(
            layer_with(bias=[np.float32([4, 0, 1])], activation=sparsednn.clipped_relu(1.0)),
            True,
            (0.0, 1.0),
            id="one has none",
        ),
        pytest.param(layer_with(bias=1.0, activation=sparsednn.Activation("a", 1e-9, 2.0)), True, (1e-9, 2.0), id="low limit"),
        pytest.param(layer_with(bias=1.0, activation=sparsednn.sigmoid()), True, (0.0, np.inf), id="no clamp"),
    ],
)
def test_what_is_known_of_activations(layer: Any, everywhere: bool, expected: tuple[float, float]) -> None:
    assert after(layer, bias_everywhere=everywhere) == pytest.approx(expected, rel=1e-7)


def test_what_is_known_of_activations_holds(rng: np.random.Generator) -> None:
    """Sums next to the bias leave the least: half a unit in its last place is met, and nothing less."""
    for bias in np.float32([-0.3, 1.5, -(2.0**-130), 1e30]):
        found = after(layer_with(bias=bias, activation=sparsednn.identity()), bias_everywhere=False).least
        near = np.float32([-bias, -bias / 2, -bias / 4])
        totals = np.concatenate([near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf)), 3 * near])
        left = np.abs(totals + bias)
        assert left[left > 0].min() >= found
        assert left[left > 0].min() <= 2 * found


@pytest.mark.parametrize(
    ("weight", "most_terms", "before", "expected"),
    [
        pytest.param(1 / 16, 32, Magnitudes(2.0**-26, 32.0), True, id="challenge"),
        pytest.param(3 / 16, 32, Magnitudes(2.0**-26, 32.0), False, id="no power of two"),
        pytest.param(0.0, 32, Magnitudes(1.0, 1.0), False, id="zero"),
        pytest.param(2.0**-100, 32, Magnitudes(2.0**-26, 32.0), True, id="the least product is the least normal number"),
        pytest.param(2.0**-101, 32, Magnitudes(2.0**-26, 32.0), False, id="it is denormal"),
        pytest.param(1 / 16, 32, Magnitudes(0.0, 32.0), False, id="nothing known of small ones"),
        pytest.param(1 / 16, 32, Magnitudes(2.0**-26, np.inf), False, id="nothing known of large ones"),
        pytest.param(2.0**100, 32, Magnitudes(1.0, 2.0**25), False, id="a product is infinite"),
        pytest.param(1 / 16, 2**20 + 1, Magnitudes(1.0, 1.0), False, id="too many terms"),
    ],
)
def test_when_sums_may_be_scaled_afterwards(weight: float, most_terms: int, before: Magnitudes, expected: bool) -> None:
    assert scales_after_adding(weight, most_terms, before) == expected


@pytest.mark.parametrize(("neurons", "layers"), [(1024, 6), (4096, 8)])
def test_the_challenges_layers_only_add(neurons: int, layers: int) -> None:
    """All but the first, whose inputs may be anything."""
    packed = pack_network(sparsednn.radixnet(neurons, layers), KernelOptions(columns="none"), fused=True)
    assert [layer.kernel for layer in packed.layers] == [shared_kernel(uniform=True), *[ADDED] * (len(packed.layers) - 1)]


def test_a_run_of_the_challenges_network_has_the_references_bits(rng: np.random.Generator) -> None:
    network = sparsednn.radixnet(1024, 6)
    inputs = sp.csr_array((rng.random((140, 1024)) < rng.random((140, 1)) ** 2).astype(np.float32))
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    result = sparsednn.infer(network, inputs, backend=CupyBackend([HostDevice()]), columns="none", output=True)
    assert result.output is not None
    assert len(np.unique(result.output.data)) > 100
    assert same_bits(result.output, expected.output)
