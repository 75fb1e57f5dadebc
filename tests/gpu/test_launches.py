"""Launches that are prepared once: how many calls into CuPy a layer takes, and that each has the arguments of its own layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.layout import packing
from backends.cupy_gpu.plan import OnDevices, stretches
from backends.cupy_gpu.run import worker
from sparsednn.backend import KernelOptions
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.gpu import host_kernels, launch_cost
from tests.gpu.host_device import HostDevice

needs_compiler = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")

MOST_CALLS = 3


@pytest.mark.parametrize("options", [pytest.param({}, id="in memory"), pytest.param({"stream_from": "here"}, id="streamed")])
def test_a_layer_takes_three_calls_into_cupy_at_most(options: dict[str, Any]) -> None:
    """One is the launch; events, their times and the profiler's ranges are for several layers together."""
    calls = launch_cost.calls_of_a_layer(sp.csr_array(np.ones((128, 1024), np.float32)), **options)
    assert sum(n for name, n in calls.items() if name.startswith("launch")) == 1
    assert sum(calls.values()) <= MOST_CALLS, calls


def test_the_time_of_a_launch_is_measured() -> None:
    assert launch_cost.seconds_of_a_layer(sp.csr_array(np.ones((2, 1024), np.float32)), n_rounds=1) != 0


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        pytest.param("......", [4, 5, 5, 5, 5], id="none"),
        pytest.param("..#...", [2, 2, 5, 5, 5], id="one"),
        pytest.param(".#.#..", [1, 3, 3, 5, 5], id="two"),
        pytest.param("#....#", [4, 5, 5, 5, 5], id="before the first layer and after the last"),
    ],
)
def test_a_stretch_ends_before_a_checkpoint(checks: str, expected: list[int]) -> None:
    assert stretches(np.array([one == "#" for one in checks]), np.zeros(len(checks) - 1, np.int64)) == expected


def alike(rng: np.random.Generator) -> tuple[list[sp.csc_array], sp.csr_array]:
    """Layers whose connections are the same, with weights that are not, each several times; and inputs that live."""
    pattern = sp.csc_array((rng.random((80, 80)) < 0.3).astype(np.float32))
    weights = [pattern * np.float32(1 / 32), pattern * np.float32(1 / 16), pattern * np.float32(1 / 24)] * 3
    return weights, sp.csr_array(rng.random((300, 80), np.float32))


@needs_compiler
@pytest.mark.parametrize("residency", ["memory", "stream"])
@pytest.mark.parametrize("slots", ["few", "all"])
def test_each_layer_has_arguments_of_its_own(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, residency: str, slots: str
) -> None:
    """The weights that are the same are arguments, and layers that are copied anew lie in other places."""
    weights, inputs = alike(rng)
    weights[3] = sp.csc_array((rng.random((80, 80)) < 0.2) / np.float32(16))
    weights[7] = sp.csc_array((rng.random((80, 80)) < 0.2) * rng.random((80, 80), np.float32) / 8)
    network = sparsednn.Network(weights, bias=-0.05, activation=sparsednn.clipped_relu(32.0))
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    assert expected.output is not None
    assert len(np.unique(expected.output.data)) > 10_000, "the instances live, and differ"
    if slots == "few":
        monkeypatch.setattr(OnDevices, "_n_slots", lambda self, device: self._fewest_slots())
    for rows in ("none", "merge"):
        result = sparsednn.infer(
            network, inputs, backend=CupyBackend([HostDevice()]), residency=residency, rows=rows, columns="none", threads=1,
            block_rows=128, output=True, repeats=2,
        )  # fmt: skip
        assert same_bits(result.output, expected.output)


@needs_compiler
def test_few_launches_are_kept(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, inputs = alike(rng)
    network = sparsednn.Network(weights, bias=-0.1, activation=sparsednn.clipped_relu(32.0))
    monkeypatch.setattr(worker, "MOST_LAUNCHES", 2)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    result = sparsednn.infer(network, inputs, backend=CupyBackend([HostDevice()]), threads=1, output=True)
    assert same_bits(result.output, expected.output)


@pytest.mark.parametrize(("order", "fused"), [("given", True), ("shared_inputs", True), ("given", False)])
def test_layers_that_are_the_same_are_packed_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, order: str, fused: bool
) -> None:
    """The first of them has inputs in the order of the network, which the others may not have."""
    weights, _ = alike(rng)
    network = sparsednn.Network(weights, bias=-0.1, activation=sparsednn.clipped_relu(32.0))
    name = "_sliced_ell" if fused else "_csr"
    original, packed = getattr(packing, name), list[Any]()

    def counted(*given: Any, **options: Any) -> Any:
        packed.append(original(*given, **options))
        return packed[-1]

    monkeypatch.setattr(packing, name, counted)
    found = packing.pack_network(network, KernelOptions(columns="none", order=order), fused=fused)
    assert len(found.layers) == 9
    assert len(packed) == (4 if order == "shared_inputs" else 3)
    assert {layer.at for layer in found.layers} == {layer.at for layer in packed}
    assert len({id(layer) for layer in found.layers}) <= len(packed) + 2, "those that may only add, and the first one"
