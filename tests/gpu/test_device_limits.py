"""Devices with little memory, devices that fail, and which devices a process takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import STREAMS, CupyBackend
from backends.cupy_gpu.kernels.cusparse import SpgemmKernel
from backends.cupy_gpu.plan import OnDevices
from sparsednn.backend import DeviceBackend, DeviceError, KernelOptions
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice
from tests.gpu.test_streams import deep

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize("kernel", ["fused", "cusparse_spmm", "cusparse_spgemm"])
@pytest.mark.parametrize("residency", ["memory", "stream"])
def test_processes_that_share_a_device_share_its_memory(kernel: str, residency: str) -> None:
    """Four of them, with two workers each, plan at the same time: together they take no more than there is."""
    network = sparsednn.radixnet(1024, 12)
    processes = []
    for rank in range(4):
        backend = CupyBackend([HostDevice(free=2**27)])
        backend.place(rank, 4)
        options = KernelOptions(columns="none", kernel=kernel, stream_from=ROOT if residency == "stream" else None)
        plan = backend.prepare(network, options, 2)
        backend.warm_up(plan, 60_000)
        processes.append(plan)
    rows = [plan.on_devices.block_rows for plan in processes]
    layers = [plan.network.store.nbytes if residency == "memory" else 0 for plan in processes]
    assert min(rows) >= 1
    assert sum(layers) + sum(2 * n * processes[0].kernel.row_bytes(processes[0].network) for n in rows) <= 2**27


def test_all_memory_is_taken_before_the_clock_runs(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planned is taken: who plans next sees what is left."""
    network, inputs = deep(rng)
    sizes: list[int] = []
    empty = HostDevice.empty

    def noted(self: HostDevice, n: int, dtype: Any) -> Any:
        sizes.append(n * np.dtype(dtype).itemsize)
        return empty(self, n, dtype)

    monkeypatch.setattr(HostDevice, "empty", noted)
    backend = CupyBackend([HostDevice(0), HostDevice(1)])
    plan = backend.prepare(network, KernelOptions(), 4)
    backend.warm_up(plan, 300)
    block_bytes = 4 * plan.network.widest * plan.on_devices.block_rows
    assert sizes.count(block_bytes) == 2 * 4, "two arrays of each worker"
    sizes.clear()
    sparsednn.infer(network, inputs, backend=Prepared(backend, plan), threads=4)
    assert max(sizes) < block_bytes


class Prepared(CupyBackend):
    """Goes on with a plan that has been warmed up."""

    def __init__(self, backend: CupyBackend, plan: Any) -> None:
        super().__init__(backend.devices)
        self._plan = plan

    def prepare(self, network: Any, options: Any, n_workers: int) -> Any:
        return self._plan

    def warm_up(self, plan: Any, largest_group: int) -> None:
        """It is done."""


def test_sparse_products_get_the_memory_that_they_need() -> None:
    """A product of sparse matrices takes memory for each multiply-add, not for each activation only."""
    network = sparsednn.radixnet(1024, 6)
    backend = CupyBackend([HostDevice(free=2**27)])
    plan = backend.prepare(network, KernelOptions(columns="none", kernel="cusparse_spgemm"), 1)
    backend.warm_up(plan, 60_000)
    products, in_and_out = 32 * 1024, 2 * 1024
    assert plan.on_devices.block_rows * (8 * products + 8 * in_and_out) <= 2**27
    assert plan.on_devices.block_rows > 100


@pytest.mark.parametrize("kernel", ["cusparse_spmm", "cusparse_spgemm"])
def test_the_librarys_ids_of_32_bits_count_all_that_a_block_may_have(kernel: str) -> None:
    """However much memory there is: 2**16 instances of 2**16 neurons would be 2**32 activations."""
    network = sparsednn.Network([sp.eye_array(2**16, format="csc", dtype=np.float32)] * 2)
    backend = CupyBackend([HostDevice(free=2**60)])
    plan = backend.prepare(network, KernelOptions(columns="none", kernel=kernel), 1)
    rows = OnDevices(plan, backend.devices, 2**20).block_rows
    assert 2**31 - 2**17 < rows * 2**16 < 2**31


def test_inputs_with_more_entries_than_the_librarys_ids_count_are_refused() -> None:
    inputs = SimpleNamespace(nnz=2**31, shape=(40_000, 2**16))
    rows: Any = SimpleNamespace(inputs={0: inputs}, chosen=0)
    lane: Any = None
    with pytest.raises(
        ValueError, match=r"^2,147,483,648 entries in a block of 40,000 instances: .*; use a smaller block_rows"
    ):
        SpgemmKernel().load(lane, lane, rows)


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
    assert backend.place(node_rank, node_size) == STREAMS * len(numbers), "the second run of the same backend"
    assert [device.number for device in backend.devices] == numbers


def test_workers_are_streams_unless_told_otherwise(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    record = sparsednn.infer(small_network, small_inputs, backend=CupyBackend([HostDevice(0), HostDevice(1)])).record
    assert record["threads"] == len(record["workers"]) == 2 * STREAMS
    assert [device["number"] for device in record["device"]["devices"]] == [0, 1]
