"""Inputs on devices: pinned, sliced without copies, one value where all are the same, there once; and what the clocks say."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.kernels import dense
from backends.cupy_gpu.layout.inputs import DeviceInputs
from backends.cupy_gpu.plan import FREE_SHARE
from backends.cupy_gpu.run.worker import Lane
from sparsednn.backend import KernelOptions
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.conformance.test_schedulers import eager
from tests.gpu import host_device, host_kernels
from tests.gpu.fake_cupy import Fake
from tests.gpu.host_device import HostDevice, HostStream
from tests.gpu.test_cuda import infer
from tests.gpu.test_streams import EARLY, deep, lazy

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")


def rows_of(rng: np.random.Generator, values: str) -> sp.csr_array:
    """Three hundred instances, some empty, in canonical form."""
    filled = rng.random((300, 40)) < np.where(np.arange(300) % 3 == 0, 0, 0.4)[:, None]
    return sp.csr_array((filled * (1 if values == "one" else rng.random((300, 40)) + 0.1)).astype(np.float32))


@pytest.mark.parametrize("values", ["one", "many"])
@pytest.mark.parametrize(
    ("chosen", "share", "uploads"),
    [
        pytest.param(np.arange(300), 1.0, 2, id="all"),
        pytest.param(np.arange(100, 200), None, 2, id="a part, side by side"),
        pytest.param(np.flatnonzero(np.arange(300) % 3), 1.0, 2, id="all that are not empty"),
        pytest.param(np.arange(7, 300, 20), None, 4, id="far apart"),
        pytest.param(np.arange(0), 0.0, 0, id="none"),
        pytest.param(np.array([0, 3]), 0.0, 4, id="empty ones"),
    ],
)
def test_rows_are_on_the_device_as_they_are_in_the_matrix(
    values: str, chosen: np.ndarray, share: float | None, uploads: int, rng: np.random.Generator
) -> None:
    inputs, device = rows_of(rng, values), HostDevice(lazy=True)
    store, lane = DeviceInputs({0: 2**20}), Lane(device, 384)
    store.take(inputs, device)
    for _ in range(2):
        with lane.at_work():
            block = dense.DenseBlock(
                device.empty(40 * 384, np.float32), n_neurons=40, n=len(chosen), n_padded=384, by_instance=True
            )
            if len(chosen):
                dense.fill(lane, block, store.choose(inputs, chosen))
                lane.stream.synchronize()
        expected = inputs[chosen].toarray()
        assert np.array_equal(np.asarray(block.x).reshape(40, 384).T[: len(chosen)], expected)
    if share is not None:
        assert store.uploaded_bytes == share * inputs.nnz * (4 if values == "one" else 8), "once"
    found = [line for line in device.log if line[1:] == ("put", "upload")]
    assert len(found) <= 2 * uploads, "where entries begin and end; entries themselves if they are far apart"


def test_inputs_are_pinned_while_they_are_there(rng: np.random.Generator) -> None:
    inputs, device = rows_of(rng, "many"), HostDevice(lazy=True)
    store, lane = DeviceInputs({0: 2**20}), Lane(device, 384)
    store.take(inputs, device)
    store.take(inputs, device)
    assert sorted(array.ctypes.data for array in host_device.PINNED) == sorted(
        [inputs.indices.ctypes.data, inputs.data.ctypes.data]
    ), "the matrix's own memory"
    with lane.at_work():
        store.choose(inputs, np.arange(300)).on(lane)
    other = rows_of(rng, "one")
    store.take(other, device)
    assert [array.ctypes.data for array in host_device.PINNED] == [other.indices.ctypes.data]
    del other
    gc.collect()
    assert host_device.PINNED == []
    assert store.pinned is None


@pytest.mark.parametrize("early", EARLY)
@pytest.mark.parametrize("values", ["one", "many"])
@pytest.mark.parametrize("scheduler", ["data", "model", "work_stealing"])
def test_repeats_copy_inputs_once(early: str, values: str, scheduler: str, rng: np.random.Generator) -> None:
    network, _ = deep(rng)
    inputs = rows_of(rng, values)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    result = sparsednn.infer(
        network, inputs, backend=lazy(1, early), threads=2, scheduler=eager(scheduler), output=True, repeats=3
    )  # fmt: skip
    assert same_bits(result.output, expected.output)
    device = result.record["device"]
    assert device["uploaded_bytes"] == inputs.nnz * (4 if values == "one" else 8)
    assert device["inputs_pinned"] is True
    assert device["kernel_s"] > 0
    assert device["upload_s"] > 0
    gc.collect()
    assert host_device.PINNED == []


def test_inputs_for_which_there_is_no_room_are_copied_each_time(rng: np.random.Generator) -> None:
    network, inputs = deep(rng)
    plan = CupyBackend([HostDevice()]).prepare(network, KernelOptions(), 1)
    needed = plan.network.store.nbytes + 384 * plan.kernel.row_bytes(plan.network) + inputs.nnz
    backend = CupyBackend([HostDevice(free=int(needed / FREE_SHARE))])
    result = sparsednn.infer(network, inputs, backend=backend, threads=1, output=True, repeats=3)
    assert result.record["device"]["block_rows"] == 384
    assert result.record["device"]["uploaded_bytes"] == 3 * 8 * inputs.nnz
    assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)


def test_a_compiled_network_stays_on_the_device(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later call of no more instances brings its inputs only."""
    network, inputs = deep(rng)
    device = HostDevice(lazy=True)
    uploaded: list[int] = []
    upload = HostDevice.upload

    def noted(self: HostDevice, array: np.ndarray, stream: HostStream) -> Any:
        uploaded.append(array.nbytes)
        return upload(self, array, stream)

    monkeypatch.setattr(HostDevice, "upload", noted)
    model = sparsednn.compile(network, backend=CupyBackend([device]), threads=1)
    for n in (300, 300, 7):
        result = model.infer(inputs[:n], output=True)
        expected = sparsednn.infer(network, inputs[:n], backend=REFERENCE, output=True)
        assert same_bits(result.output, expected.output)
        assert result.record["device"]["row_groups"] == 1
    store = max(uploaded)
    assert uploaded.count(store) == 1
    model.infer(sp.csr_array(np.repeat(inputs.toarray(), 3, axis=0)))
    assert uploaded.count(store) == 2, "more instances want more memory"


def test_times_add_up_to_that_of_the_row_groups(fake: Fake, rng: np.random.Generator) -> None:
    """On a stand-in by whose clock two milliseconds lie between any two events."""
    network, inputs = deep(rng)
    device = infer(network, inputs, threads=1).record["device"]
    assert device["kernel_s"] == pytest.approx(7 * 0.002), "layers 0, 1, 2, 3, 4 to 5, 6 to 7, and 8: up to checkpoints"
    assert device["upload_s"] == pytest.approx(0.002)
    assert device["row_groups_s"] == pytest.approx(0.002)
    assert device["host_s"] == 0


def test_profilers_see_loads_layers_and_checkpoints(fake: Fake, rng: np.random.Generator) -> None:
    network, inputs = deep(rng)
    infer(network, inputs, threads=1)
    assert fake.ranges.count("load") == 1
    stretches = ["0 to 0", "1 to 1", "2 to 2", "3 to 3", "4 to 5", "6 to 7", "8 to 8"]
    assert [name for name in fake.ranges if name.startswith("layer")] == [f"layers {stretch}" for stretch in stretches]
    assert fake.ranges.count("checkpoint") == 6, "before the layers 1, 2, 3, 4, 6 and 8"
    assert fake.open_ranges == 0


def test_inputs_of_other_processes_are_gathered(rng: np.random.Generator) -> None:
    """Row groups that are stolen have inputs of another process, which are not pinned here."""
    inputs, other, device = rows_of(rng, "many"), rows_of(rng, "many"), HostDevice(lazy=True)
    store, lane = DeviceInputs({0: 2**20}), Lane(device, 384)
    store.take(inputs, device)
    with lane.at_work():
        block = dense.DenseBlock(device.empty(40 * 384, np.float32), n_neurons=40, n=300, n_padded=384, by_instance=True)
        dense.fill(lane, block, store.choose(other, np.arange(300)))
        lane.stream.synchronize()
    assert np.array_equal(np.asarray(block.x).reshape(40, 384).T[:300], other.toarray())
