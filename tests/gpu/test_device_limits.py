"""Devices with little memory, devices that fail, and which devices a process takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import STREAMS, CupyBackend
from sparsednn.backend import DeviceBackend, DeviceError, KernelOptions
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice
from tests.gpu.test_streams import deep

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")


def test_all_is_counted_in_parts_that_fit_into_little_memory(rng: np.random.Generator) -> None:
    """300 instances where 128 fit: three blocks, whose progress adds up."""
    network, inputs = deep(rng)
    packed = CupyBackend([HostDevice()]).prepare(network, KernelOptions(), 1).network
    rows_bytes = 2 * 4 * packed.widest * 200
    backend = CupyBackend([HostDevice(free=int((packed.store.nbytes + rows_bytes) / 0.8))])
    found: list[tuple[int, int]] = []
    result = sparsednn.infer(
        network, inputs, backend=backend, threads=1, output=True, progress=lambda done, all_: found.append((done, all_))
    )
    assert result.record["device"]["block_rows"] == 128
    assert found[-1] == (2700, 2700)
    assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)


@pytest.mark.parametrize(
    ("free", "options", "ways"),
    [
        pytest.param(2**15, {}, "residency=stream or backend=numba", id="all in memory"),
        pytest.param(2**15, {"threads": 2}, "residency=stream or threads=1 or backend=numba", id="two workers"),
        pytest.param(2**14, {"residency": "stream"}, "backend=numba", id="streamed"),
    ],
)
def test_a_device_with_too_little_memory_is_named_with_the_ways_out(
    free: int, options: dict[str, Any], ways: str, rng: np.random.Generator
) -> None:
    network, inputs = deep(rng)
    backend = CupyBackend([HostDevice(free=free)])
    with pytest.raises(MemoryError, match=rf"backend=cupy: device 0 has [0-9.]+ MB free, .*; use {ways}$"):
        sparsednn.infer(network, inputs, backend=backend, **{"threads": 1, **options})


def test_a_device_that_fails_ends_the_run(rng: np.random.Generator) -> None:
    network, inputs = deep(rng)
    devices = [HostDevice(0), HostDevice(1)]
    plain_launch = devices[1].launch

    def failing(kernel: str, *arguments: Any, **options: Any) -> None:
        if kernel == "sum_rows":
            raise DeviceError("backend=cupy: device 1 failed")
        plain_launch(kernel, *arguments, **options)

    backend = CupyBackend(devices)
    plan = backend.prepare(network, KernelOptions(), 2)
    backend.warm_up(plan, 150)
    devices[1].launch = failing  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="device 1 failed"):
        sparsednn.infer(network, inputs, backend=backend, threads=2)


@pytest.mark.parametrize(
    ("node_rank", "node_size", "numbers"),
    [
        pytest.param(0, 1, [0, 1, 2], id="alone: all devices"),
        pytest.param(1, 3, [1], id="one device a process"),
        pytest.param(4, 5, [1], id="more processes than devices: they share"),
    ],
)
def test_processes_of_a_node_take_devices_in_turn(node_rank: int, node_size: int, numbers: list[int]) -> None:
    backend = CupyBackend([HostDevice(number) for number in range(3)])
    assert isinstance(backend, DeviceBackend)
    assert backend.place(node_rank, node_size) == STREAMS * len(numbers)
    assert [device.number for device in backend.devices] == numbers


def test_workers_are_streams_unless_told_otherwise(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    record = sparsednn.infer(small_network, small_inputs, backend=CupyBackend([HostDevice(0), HostDevice(1)])).record
    assert record["threads"] == len(record["workers"]) == 2 * STREAMS
    assert [device["number"] for device in record["device"]["devices"]] == [0, 1]


def test_the_simulator_does_not_know_devices(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    with pytest.raises(
        ValueError, match=r"scheduler=auto: backend=cupy cannot make profiles; name a scheduler, or use backend="
    ):
        sparsednn.infer(small_network, small_inputs, backend=CupyBackend([HostDevice()]), scheduler="auto")
