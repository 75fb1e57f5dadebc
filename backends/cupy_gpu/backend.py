"""Implements the CuPy backend: workers are streams of NVIDIA GPUs and run cuSPARSE or a fused kernel."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.schedulable import ONE_WORKER_A_GROUP, TEAMS
from backends.cupy_gpu.costs import cost_kind, device_figures, layer_launches, layer_sizes
from backends.cupy_gpu.device.cuda import cuda_devices
from backends.cupy_gpu.device.interface import Device
from backends.cupy_gpu.plan import GpuPlan, OnDevices
from backends.cupy_gpu.run.counting import count_nonzeros
from backends.cupy_gpu.run.leader import Walk, run_as_member
from backends.cupy_gpu.run.row_group import DeviceGroup
from backends.cupy_gpu.run.teams import DeviceTeam
from backends.cupy_gpu.run.warm_up import warm_up
from sparsednn.backend import (
    PLAIN_ENTRY_BYTES,
    Control,
    CostKind,
    DeviceFigures,
    GroupResult,
    KernelOptions,
    LayerLaunch,
    LayerSizes,
    MemoryBytes,
    Outcome,
    PlanDescription,
    RunSize,
    Team,
    kernel_name,
)
from sparsednn.network import Network

STREAMS = 1
"""Workers on each device unless told otherwise. For two the device has the same work, and Python, of which one thread at a time
runs, twice as much."""

COUNTED_ROWS = 1024
"""Instances whose activations are counted at a time."""

ONE_DEVICE = (
    "backend=cupy: members of a team are streams of one GPU, which computes no faster for it and waits for the host more "
    "often; use scheduler=data, or threads= as many as there are GPUs"
)
_LOG = logging.getLogger(__name__)


class CupyBackend:
    """Workers are streams, on the devices in turn.

    Parameters
    ----------
    devices : sequence of Device, optional
        All devices that CUDA shows, unless given.

    Raises
    ------
    ImportError
        If CuPy is not installed.
    DeviceError
        If there is no driver or no device.
    """

    name = "cupy"
    same_bits: Collection[str] = ("fused",)
    own_threads = False
    plans_can_be_shared: Collection[str] = ("memory", "stream")
    kernels: Mapping[str, str] = {
        "auto": "fused", "fused": "fused", "cusparse_spmm": "cusparse_spmm", "cusparse_spgemm": "cusparse_spgemm"
    }  # fmt: skip
    schedulers: Mapping[str, tuple[str, ...]] = {
        "fused": TEAMS, "cusparse_spmm": ONE_WORKER_A_GROUP, "cusparse_spgemm": ONE_WORKER_A_GROUP
    }  # fmt: skip

    def __init__(self, devices: Sequence[Device] | None = None) -> None:
        self._visible: list[Device] = [*cuda_devices()] if devices is None else [*devices]
        self.devices = self._visible
        self._n_processes = 1

    @classmethod
    def without_devices(cls) -> CupyBackend:
        """Return one for simulations: it packs networks, and can run none."""
        return cls([])

    def place(self, node_rank: int, node_size: int) -> int:
        """Take all devices if the process is alone on its node, and one if it is not; return the number of workers.

        Processes that have the same device share its memory.
        """
        n_devices = len(self._visible)
        if node_size > 1:
            self.devices = [self._visible[node_rank % n_devices]]
            self._n_processes = len(range(node_rank % n_devices, node_size, n_devices))
        return STREAMS * len(self.devices)

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> GpuPlan:
        """Pack the layers in host memory, in the kernel's layout."""
        return GpuPlan(network, kernel_name(self, options.kernel), options, n_workers)

    def warm_up(self, plan: GpuPlan, largest_group: int) -> None:
        """Bring the layers to the devices, take all memory, and compile, load and call all that a run may.

        What an earlier call has brought there stays, if it was for as many rows.
        """
        kept = plan.on_devices
        if kept is not None and kept.serves(self.devices, largest_group, self._n_processes):
            kept.forget_counts()
            return
        plan.on_devices = kept = None  # that of a call before gives its memory back first
        on_devices = plan.on_devices = OnDevices(plan, self.devices, largest_group, self._n_processes)
        if largest_group > 0:
            warm_up(plan, [on_devices.lane(worker) for worker in range(plan.n_workers)])
            on_devices.forget_counts()

    def take_inputs(self, plan: GpuPlan, inputs: sp.csr_array) -> None:
        """Pin the inputs, from which row groups are copied to the devices."""
        if plan.on_devices is not None:
            plan.on_devices.take_inputs(inputs)

    def open(self, plan: GpuPlan, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> DeviceGroup:
        """Point at the rows: they come to the device when their turn comes."""
        if plan.on_devices is None:
            plan.on_devices = OnDevices(plan, self.devices, len(rows), self._n_processes)
        skip_empty = bool(plan.prunes and plan.network.zeros_stay[0])
        return DeviceGroup(plan.on_devices.inputs, inputs, rows, worker, output=output, skip_empty=skip_empty)

    def run(self, plan: GpuPlan, group: DeviceGroup, control: Control, team: Team, member: int) -> Outcome:
        """Put work into the member's stream until the group is through or the team has to leave."""
        assert plan.on_devices is not None
        meeting = group.meeting(team, control)
        lanes = [plan.on_devices.lane(worker) for worker in (group.worker, *team.workers[1:])]
        lane = lanes[member]
        if member == 0 and len({one.device.number for one in lanes}) < len(lanes) and plan.on_devices.is_first_team():
            _LOG.warning(ONE_DEVICE)
        with plan.on_devices.watched(), lane.at_work():
            if member > 0:
                return run_as_member(meeting, lane, member)
            meeting.device_team = DeviceTeam(plan, team, lanes)
            return Walk(
                plan=plan, group=group, lane=lane, control=control, meeting=meeting, device_team=meeting.device_team
            ).go()

    def close(self, plan: GpuPlan, group: DeviceGroup) -> GroupResult:
        """Bring the rows into their order."""
        return group.result(plan.network.layers[-1].high, len(plan.network.last))

    def row_unit(self, plan: GpuPlan) -> int:
        """Return how many instances the kernel takes at a time: those of a tile."""
        return int(plan.kernel.tile)

    def profile(self, plan: GpuPlan, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Count nonzero activations on the first device."""
        if plan.on_devices is None:
            plan.on_devices = OnDevices(plan, self.devices, COUNTED_ROWS, self._n_processes)
        return count_nonzeros(plan, inputs, rows)

    def layer_sizes(self, plan: GpuPlan) -> LayerSizes:
        """Return the sizes of the packed layers."""
        return layer_sizes(plan.network, plan.retires)

    def cost_kind(self, options: KernelOptions) -> CostKind:
        """Say what the seconds of the fused kernel depend on."""
        return cost_kind(options)

    def layer_launches(self, plan: GpuPlan, generation: str) -> list[LayerLaunch]:
        """Return what each layer is to a device of a generation."""
        return layer_launches(plan.network, generation)

    def device_figures(self) -> DeviceFigures | None:
        """Return what the devices are, by the first one."""
        return device_figures(self.devices)

    def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """The layers in host memory, and once more while they are joined; what is on the devices is refused there."""
        kept = size.distinct_connections if options.columns == "merge" else size.connections
        entry_bytes = size.id_bytes if options.kernel == "fused" else PLAIN_ENTRY_BYTES
        return MemoryBytes.plain(size)._replace(plan=2 * entry_bytes * kept)

    def describe(self, plan: GpuPlan) -> PlanDescription:
        """Name the kernel, the optimisations that are on, and the devices."""
        return plan.describe()
