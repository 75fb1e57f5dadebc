"""Holds a network packed for one kernel, which processes can share, and each process's copy on its devices."""

from __future__ import annotations

import threading
import weakref
from contextlib import ExitStack
from typing import Any

import numpy as np

from backends.common.row_results import checkpoints
from backends.cupy_gpu.device.interface import Device
from backends.cupy_gpu.kernels.cusparse import SpgemmKernel, SpmmKernel
from backends.cupy_gpu.kernels.fused import FusedKernel
from backends.cupy_gpu.kernels.source import TILE
from backends.cupy_gpu.layout.packing import PackedNetwork, pack_network
from backends.cupy_gpu.layout.residency import ResidentNetwork, StreamedLayers
from backends.cupy_gpu.run.worker import Lane
from sparsednn.backend import DeviceUse, KernelOptions, Optimizations, PlanDescription, UsedDevice, require_clamps, tolerance_of
from sparsednn.errors import MemoryShortageError
from sparsednn.network import Network
from sparsednn.system.json_fields import from_json

KERNELS: dict[str, Any] = {"fused": FusedKernel(), "cusparse_spmm": SpmmKernel(), "cusparse_spgemm": SpgemmKernel()}

MOST_ROWS = 2**16
"""Instances that a worker takes at a time unless told otherwise, where there is room."""

MB = 1e6
MOST_TILES = 2**15
"""Tiles along a grid's second axis, which has 65,535 places."""

FREE_SHARE = 0.8
"""How much of the free memory of a device activations may take."""


class GpuPlan:
    """A packed network and its optimisations, and (not shared with other processes) its part on devices."""

    def __init__(self, network: Network, name: str, options: KernelOptions, n_workers: int) -> None:
        self.name, self.options, self.n_workers = name, options, n_workers
        self.streams = options.stream_from is not None
        if name == "cusparse_spgemm":
            require_clamps(network, f"kernel={name}", "kernel=fused")
        self.network: PackedNetwork = pack_network(network, options, fused=self.kernel.fused)
        n_layers, dense = len(self.network.layers), name != "cusparse_spgemm"
        self.prunes = options.rows != "none"
        self.merges = options.rows == "merge" and dense
        retires = options.rows in ("retire", "merge") and dense
        self.retires = self.network.full_stays if retires else np.zeros(n_layers + 1, np.bool_)
        self.checks = np.zeros(n_layers + 1, np.bool_)
        self.checks[checkpoints(n_layers)] = self.prunes and dense
        self.checks &= self.network.zeros_stay
        self.full_sum = float(np.full(len(self.network.last), self.network.layers[-1].high, np.float64).sum())
        self.on_devices: OnDevices | None = None

    @property
    def kernel(self) -> Any:
        """The arithmetic."""
        return KERNELS[self.name]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is on this process's devices."""
        return {**self.__dict__, "on_devices": None}

    def describe(self) -> PlanDescription:
        """Name the kernel, the optimisations that are on, and the devices."""
        on = Optimizations(
            rows=self.options.rows if self.name != "cusparse_spgemm" or not self.prunes else "prune",
            columns=self.options.columns,
            order=self.options.order if self.kernel.fused else "given",
            structure_aware=self.options.columns == "merge",
            residency="stream" if self.streams else "memory",
        )
        device = None if self.on_devices is None else self.on_devices.describe()
        tolerance = None if self.name == "fused" else tolerance_of(len(self.network.layers))
        return PlanDescription(self.name, on, device=device, tolerance=tolerance)


class OnDevices:
    """The part of a plan on the devices of one process: the layers, and a lane for each worker.

    Parameters
    ----------
    plan : GpuPlan
    devices : list of Device
        Workers take them in turn.
    largest_group : int
        Rows of the largest row group.

    Raises
    ------
    MemoryError
        If network and activations do not fit into a device's memory.
    """

    def __init__(self, plan: GpuPlan, devices: list[Device], largest_group: int) -> None:
        self._network, self._kernel, self._streams = plan.network, plan.kernel, plan.streams  # not the plan, which has this
        self._devices = devices[: plan.n_workers]
        for device in self._devices:
            device.release_unused()
        self._lock = threading.Lock()
        self._pinned = ExitStack()
        self._residents: dict[int, ResidentNetwork] = {}
        self._lanes: dict[int, Lane] = {}
        self.group_s: list[float] = []
        per_device = -(-plan.n_workers // len(self._devices))
        wanted = min(plan.options.block_rows or MOST_ROWS, max(largest_group, 1), MOST_TILES * TILE)
        self.block_rows = min(self._fitting(device, per_device, wanted) for device in self._devices)
        if plan.streams:
            self._pinned.enter_context(self._devices[0].pin(plan.network.store))
        weakref.finalize(self, self._pinned.close)

    @property
    def first_workers(self) -> range:
        """One worker of each device."""
        return range(len(self._devices))

    def forget_counts(self) -> None:
        """Set the counts of the work so far to zero."""
        self.group_s.clear()
        for layers in self._streamed():
            layers.n_copied = layers.copied_bytes = 0

    def lane(self, worker: int) -> Lane:
        """Return a worker's lane."""
        with self._lock:
            if worker not in self._lanes:
                device = self._devices[worker % len(self._devices)]
                with device.errors():
                    self._lanes[worker] = self._new_lane(device)
            return self._lanes[worker]

    def _new_lane(self, device: Device) -> Lane:
        lane, network, make = Lane(device, self.block_rows), self._network, self._kernel.make
        with device.current(lane.stream):
            if self._streams:
                lane.layers = StreamedLayers(device, network, make, lane.stream)
            else:
                if device.number not in self._residents:
                    self._residents[device.number] = ResidentNetwork(device, network, make, lane.stream)
                lane.layers = self._residents[device.number]
        return lane

    def _fitting(self, device: Device, n_lanes: int, wanted: int) -> int:
        """How many of the instances that are wanted each of some workers of a device takes at a time."""
        network, fused = self._network, self._kernel.fused
        free = device.free_bytes()
        layers = 2 * n_lanes * network.largest_layer_bytes if self._streams else network.store.nbytes
        per_row = 4 * network.widest * (2 if fused else 3)
        most = max(int((free * FREE_SHARE - layers) / (n_lanes * per_row)), 0)
        wanted = -(-wanted // TILE) * TILE if fused else wanted
        rows = min(wanted, most // TILE * TILE if fused else most)
        if rows < 1:
            ways = [] if self._streams else ["residency=stream"]
            ways += ["threads=1"] if n_lanes > 1 else []
            fewest = n_lanes * per_row * self._kernel.tile
            raise MemoryShortageError(
                f"backend=cupy: device {device.number} has {free / MB:.1f} MB free, but the network takes {layers / MB:.1f} MB "
                f"there and the fewest instances {fewest / MB:.1f}; use {' or '.join([*ways, 'backend=numba'])}"
            )
        return rows

    def describe(self) -> DeviceUse:
        """Say which devices these are, and what was done there in all repeats: by their clocks, row group by row group."""
        streamed = self._streamed()
        return DeviceUse(
            devices=[from_json(UsedDevice, one.describe() | {"used_bytes": one.used_bytes()}) for one in self._devices],
            block_rows=self.block_rows,
            row_groups=len(self.group_s),
            row_groups_s=sum(self.group_s),
            layers_copied=sum(layers.n_copied for layers in streamed) if streamed else None,
            copied_bytes=sum(layers.copied_bytes for layers in streamed) if streamed else None,
        )

    def _streamed(self) -> list[StreamedLayers]:
        return [lane.layers for lane in self._lanes.values() if isinstance(lane.layers, StreamedLayers)]
