"""Layers that do not stay in a device's memory: copied in time, once while they fit, and never from under a kernel."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.kernels.source import TILE
from backends.cupy_gpu.layout.residency import LayerCache
from backends.cupy_gpu.plan import FREE_SHARE
from sparsednn.backend import KernelOptions
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.conformance.test_schedulers import eager
from tests.gpu import host_device, host_kernels
from tests.gpu.host_device import HostDevice, HostStream
from tests.gpu.test_streams import EARLY, Deaf, deep, run, zeroed

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")

LOST = {
    "a layer is used before it has come": ("_wait", "none"),
    "a layer is overwritten while it is used": ("_copy", "every other"),
}


def little(
    network: sparsednn.Network, inputs: sp.csr_array, n_layers: int, early: str = "none", workers: int = 1
) -> CupyBackend:
    """A device that has room for all instances of some workers, and for so many layers."""
    plan = CupyBackend([HostDevice()]).prepare(network, KernelOptions(columns="none"), workers)
    rows = -(-inputs.shape[0] // workers // TILE) * TILE
    needed = workers * rows * plan.kernel.row_bytes(plan.network) + (n_layers + 0.5) * plan.network.largest_layer_bytes
    return CupyBackend([HostDevice(lazy=True, early=EARLY[early], free=int(needed / FREE_SHARE))])


@pytest.mark.parametrize(("method", "early"), LOST.values(), ids=LOST.keys())
def test_a_missing_wait_would_be_found(
    method: str, early: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The devices of these tests are late and early enough: without one of the waits the results are wrong."""
    network, inputs = deep(rng)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output
    original = getattr(LayerCache, method)

    def deaf(self: LayerCache, first: Any, second: Any) -> None:
        copies, self.copies = self.copies, Deaf(self.copies)
        try:
            original(self, first, Deaf(second) if isinstance(second, HostStream) else second)
        finally:
            self.copies = copies

    options = {"residency": "stream", "threads": 1, "output": True, "rows": "none", "columns": "none"}
    assert same_bits(sparsednn.infer(network, inputs, backend=little(network, inputs, 2, early), **options).output, expected)
    monkeypatch.setattr(LayerCache, method, deaf)
    monkeypatch.setattr(HostDevice, "empty", zeroed)
    with np.errstate(all="ignore"):
        try:
            wrong = sparsednn.infer(network, inputs, backend=little(network, inputs, 2, early), **options).output
        except FloatingPointError:
            return
    assert not same_bits(wrong, expected)


def test_a_layer_is_copied_while_the_one_before_is_computed(rng: np.random.Generator) -> None:
    """Where there is room for two layers."""
    network, inputs = deep(rng)
    backend = little(network, inputs, 2)
    device: Any = backend.devices[0]
    options = KernelOptions(columns="none", rows="none", stream_from=host_kernels.SHIM.parent)
    plan = backend.prepare(network, options, 1)
    backend.warm_up(plan, inputs.shape[0])
    run(backend, plan, inputs)
    plan.on_devices.forget_counts()
    device.log.clear()
    run(backend, plan, inputs)
    put = [(kind, what.split()[0]) for _, kind, what in device.log if what.startswith(("layer", "copy"))]
    is_put = [what.split("_")[0] for kind, what in put if kind == "put"]
    assert is_put == ["copy", "copy", "layer", *["copy", "layer"] * 7, "layer"], (
        "a copy is under way before its forerunner's use"
    )
    done = [what.split("_")[0] for kind, what in put if kind == "did"]
    for n in range(2, 9):
        third_copy = [i for i, what in enumerate(done) if what == "copy"][n]
        first_use = [i for i, what in enumerate(done) if what == "layer"][n - 2]
        assert first_use < third_copy, "a layer's place is taken when it has been used, not before"
    streams = {name for name, _, what in device.log if what.startswith("copy")}
    assert streams.isdisjoint(name for name, _, what in device.log if what.startswith("layer"))
    assert plan.describe().device.layers_copied == 9
    assert plan.describe().device.copied_bytes == plan.network.store.nbytes


@pytest.mark.parametrize("scheduler", ["data", "model"])
@pytest.mark.parametrize(("n_layers", "workers", "copied"), [(3, 1, 3), (8, 2, 3), (2, 1, None)])
def test_layers_that_are_the_same_are_copied_once_while_they_fit(
    scheduler: str, n_layers: int, workers: int, copied: int | None, rng: np.random.Generator
) -> None:
    """Three different layers, six times each, for one worker or two: each is copied once, where there is room for three."""
    few, inputs = deep(rng, 3)
    network = sparsednn.Network([layer.to_scipy() for layer in few.layers] * 6, bias=-0.001)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    for early in EARLY:
        result = sparsednn.infer(
            network, inputs, backend=little(network, inputs, n_layers, early, workers), residency="stream", threads=workers,
            columns="none", order="given", rows="none", output=True, scheduler=eager(scheduler), repeats=2,
        )  # fmt: skip
        assert same_bits(result.output, expected.output)
        assert result.record["device"]["block_rows"] >= 300 // workers
        # those that the warm-up has brought are there already
        assert result.record["device"]["layers_copied"] <= 2 if copied else result.record["device"]["layers_copied"] > 18


def test_copies_that_are_under_way_end_before_their_memory_is_unpinned(rng: np.random.Generator) -> None:
    """All instances die in the first layer, when the copy of the second one has begun: the plan waits for it when it goes."""
    network, inputs = deep(rng)
    network = sparsednn.Network([layer.to_scipy() for layer in network.layers], bias=-1e6, bias_on="all")
    backend = little(network, inputs, 2)
    result = sparsednn.infer(network, inputs, backend=backend, residency="stream", threads=1, columns="none")
    assert result.categories.size == 0
    del result
    gc.collect()
    assert not host_device.PINNED
    assert host_device.FAULTS == []
