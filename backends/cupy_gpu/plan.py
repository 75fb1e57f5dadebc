"""Holds a network packed for one kernel, which processes can share, and each process's copy on its devices."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.row_results import checkpoints
from backends.cupy_gpu.device.interface import Device, Stream
from backends.cupy_gpu.kernels.cusparse import SpgemmKernel, SpmmKernel
from backends.cupy_gpu.kernels.fused import FusedKernel
from backends.cupy_gpu.kernels.source import TILE
from backends.cupy_gpu.layout.inputs import DeviceInputs
from backends.cupy_gpu.layout.packed import PackedNetwork
from backends.cupy_gpu.layout.packing import pack_network
from backends.cupy_gpu.layout.residency import SLOTS_PER_WORKER, LayerCache, ResidentNetwork, StreamedLayers
from backends.cupy_gpu.run.worker import KERNEL, UPLOAD, Lane
from sparsednn.backend import DeviceUse, KernelOptions, Optimizations, PlanDescription, UsedDevice, require_clamps, tolerance_of
from sparsednn.errors import MemoryShortageError
from sparsednn.network import Network
from sparsednn.system.json_fields import from_json

KERNELS: dict[str, Any] = {"fused": FusedKernel(), "cusparse_spmm": SpmmKernel(), "cusparse_spgemm": SpgemmKernel()}

MOST_ROWS = 2**16
"""Instances that a worker takes at a time unless told otherwise, where there is room."""

STRETCH = 4
"""Layers that a worker puts into its stream with one pair of events around them."""

AT_ONCE = 256
"""Narrow layers that it puts there in one launch at most: so counts of what is done go on, and schedulers are heard."""

MB = 1e6
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
        self.runs = np.zeros(n_layers, np.int64)
        if self.network.narrow is not None and not self.streams:
            self.runs = self.network.narrow.ends
        self.stretches = stretches(self.checks, self.runs)
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


def stretches(checks: NDArray[np.bool_], runs: NDArray[np.int64]) -> list[int]:
    """Return up to which layer (exclusive) a worker goes on from each one before it looks up: a few, or to a checkpoint.

    checks : bool (n_layers + 1,), whether there is a checkpoint before a layer
    runs : int64 (n_layers,), where the run of narrow layers ends that a layer is in, of which more go at once; 0 if in none
    """
    n_layers, found = len(checks) - 1, list[int]()
    for number in reversed(range(n_layers)):
        ends_here = not found or checks[number + 1] or runs[number] != runs[number + 1]
        found.append(number + 1 if ends_here else found[-1])
    most = np.where(runs > 0, AT_ONCE, STRETCH).tolist()
    return [min(end, number + most[number]) for number, end in enumerate(reversed(found))]


class OnDevices:
    """The part of a plan on the devices of one process: the layers, and a lane for each worker.

    Parameters
    ----------
    plan : GpuPlan
    devices : list of Device
        Workers take them in turn.
    largest_group : int
        Rows of the largest row group.
    n_processes : int
        Processes that have the same devices.

    Raises
    ------
    MemoryError
        If network and activations do not fit into this process's share of a device's memory.
    """

    def __init__(self, plan: GpuPlan, devices: list[Device], largest_group: int, n_processes: int = 1) -> None:
        self._network, self._kernel, self._streams = plan.network, plan.kernel, plan.streams  # not the plan, which has this
        self._devices, self._n_processes, self._largest_group = devices[: plan.n_workers], n_processes, largest_group
        self._failed = False
        for device in self._devices:
            device.release_unused()
        self._lock = threading.Lock()
        self._pinned, self._open = ExitStack(), list[Stream]()
        self._layers: dict[int, ResidentNetwork | LayerCache] = {}
        self._lanes: dict[int, Lane] = {}
        self._n_teams = 0
        self.group_s: list[float] = []
        self._per_device = -(-plan.n_workers // len(self._devices))
        self._budgets = {device.number: int(device.free_bytes() * FREE_SHARE / n_processes) for device in self._devices}
        wanted = min(plan.options.block_rows or MOST_ROWS, max(largest_group, 1), self._kernel.most_rows(self._network))
        self.block_rows = min(self._fitting(device, wanted) for device in self._devices)
        self.pinned: bool | None = None
        if plan.streams:
            self.pinned = self._pinned.enter_context(self._devices[0].pin(plan.network.store))
        self.inputs = DeviceInputs({device.number: self._room(device) for device in self._devices})
        weakref.finalize(self, _close, self._open, self._pinned)

    def serves(self, devices: list[Device], largest_group: int, n_processes: int) -> bool:
        """Return whether row groups of up to so many rows can be run on these devices without more preparation."""
        same = self._devices == devices[: len(self._devices)] and n_processes == self._n_processes
        return same and not self._failed and largest_group <= self._largest_group

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what fails in the context: layers may be lost, and devices unusable, so that this serves no more."""
        try:
            yield
        except BaseException:
            self._failed = True
            raise

    def forget_counts(self) -> None:
        """Set the counts of the work so far to zero."""
        self.group_s.clear()
        self.inputs.uploaded_bytes = 0
        for lane in self._lanes.values():
            lane.forget_times()
        for layers in self._caches():
            layers.n_copied = layers.copied_bytes = 0

    def take_inputs(self, inputs: sp.csr_array) -> None:
        """Get ready for row groups of these inputs."""
        with self._devices[0].errors():
            self.inputs.take(inputs, self._devices[0])

    def is_first_team(self) -> bool:
        """Return True when called for the first time."""
        with self._lock:
            self._n_teams += 1
            return self._n_teams == 1

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
        self._open.append(lane.stream)
        with device.current(lane.stream):
            if device.number not in self._layers:
                if self._streams:
                    cache = LayerCache(device, network, make, self._n_slots(device))
                    self._open.append(cache.copies)
                    self._layers[device.number] = cache
                else:
                    self._layers[device.number] = ResidentNetwork(device, network, make, lane.stream)
            layers = self._layers[device.number]
            lane.layers = StreamedLayers(layers, lane.stream) if isinstance(layers, LayerCache) else layers
            self._kernel.reserve(lane, network)
        return lane

    def _fitting(self, device: Device, wanted: int) -> int:
        """How many of the instances that are wanted each of the workers of a device takes at a time."""
        network, fused, n_lanes = self._network, self._kernel.fused, self._per_device
        budget, layers, per_row = self._budgets[device.number], self._fewest_bytes(), self._kernel.row_bytes(network)
        most = max((budget - layers) // (n_lanes * per_row), 0)
        wanted = -(-wanted // TILE) * TILE if fused else wanted
        rows: int = min(wanted, most // TILE * TILE if fused else most)
        if rows < 1:
            ways = [] if self._streams else ["residency=stream"]
            ways += ["threads=1"] if n_lanes > 1 else []
            ways += ["fewer processes on a node"] if self._n_processes > 1 else []
            fewest, free = n_lanes * per_row * self._kernel.tile, budget / FREE_SHARE
            share = " for this process" if self._n_processes > 1 else ""
            raise MemoryShortageError(
                f"backend=cupy: device {device.number} has {free / MB:.1f} MB free{share}, but the network takes "
                f"{layers / MB:.1f} MB there and the fewest instances {fewest / MB:.1f}; "
                f"use {' or '.join([*ways, 'backend=numba'])}"
            )
        return rows

    def _fewest_bytes(self) -> int:
        """Memory that layers take on a device at least."""
        network = self._network
        return self._fewest_slots() * network.largest_layer_bytes if self._streams else network.store.nbytes

    def _fewest_slots(self) -> int:
        """How many layers a device holds at least, where the network does not stay there."""
        return min(SLOTS_PER_WORKER * self._per_device, max(self._network.n_different, 1))

    def _n_slots(self, device: Device) -> int:
        """How many layers a device holds, of a network that does not stay there: those that activations leave room for."""
        left = self._budgets[device.number] - self._per_device * self._kernel.row_bytes(self._network) * self.block_rows
        fitting: int = left // max(self._network.largest_layer_bytes, 1)
        return max(self._fewest_slots(), min(fitting, self._network.n_different))

    def _room(self, device: Device) -> int:
        """Memory of a device that neither activations nor layers take."""
        activations: int = self._per_device * self._kernel.row_bytes(self._network) * self.block_rows
        layers = self._n_slots(device) * self._network.largest_layer_bytes if self._streams else self._network.store.nbytes
        return max(self._budgets[device.number] - activations - layers, 0)

    def describe(self) -> DeviceUse:
        """Say which devices these are, and what was done there in all repeats: by their clocks, row group by row group."""
        caches, row_groups_s = self._caches(), sum(self.group_s)
        kernel_s, upload_s = (sum(lane.seconds(what) for lane in self._lanes.values()) for what in (KERNEL, UPLOAD))
        return DeviceUse(
            devices=[from_json(UsedDevice, one.describe() | {"used_bytes": one.used_bytes()}) for one in self._devices],
            block_rows=self.block_rows,
            row_groups=len(self.group_s),
            row_groups_s=row_groups_s,
            kernel_s=kernel_s,
            upload_s=upload_s,
            host_s=max(row_groups_s - kernel_s - upload_s, 0.0),
            uploaded_bytes=self.inputs.uploaded_bytes,
            inputs_pinned=self.inputs.pinned,
            layers_copied=sum(layers.n_copied for layers in caches) if self._streams else None,
            copied_bytes=sum(layers.copied_bytes for layers in caches) if self._streams else None,
            layers_pinned=self.pinned,
        )

    def _caches(self) -> list[LayerCache]:
        return [layers for layers in self._layers.values() if isinstance(layers, LayerCache)]


def _close(streams: list[Stream], pinned: ExitStack) -> None:
    """Wait for what is still in the streams, of a run that has ended early, before its memory is given back or unpinned."""
    for stream in streams:
        with suppress(Exception):  # a device that has failed does nothing more, and what it said is known by then
            stream.synchronize()
    pinned.close()
