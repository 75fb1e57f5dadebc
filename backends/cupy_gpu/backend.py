"""Implements the CuPy backend: workers are streams of NVIDIA GPUs and run cuSPARSE or a fused kernel."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.cupy_gpu.device.cuda import cuda_devices
from backends.cupy_gpu.device.interface import Device
from backends.cupy_gpu.plan import GpuPlan, OnDevices
from backends.cupy_gpu.run.leader import Walk, run_as_member
from backends.cupy_gpu.run.row_group import DeviceGroup
from backends.cupy_gpu.run.teams import DeviceTeam
from sparsednn.backend import (
    PLAIN_ENTRY_BYTES,
    Control,
    GroupResult,
    KernelOptions,
    MemoryBytes,
    Outcome,
    PlanDescription,
    RunSize,
    Team,
    kernel_name,
)
from sparsednn.network import Network

ALL_SIX = ("data", "model", "data_then_model", "manager_worker", "work_stealing", "global_work_stealing")
WITHOUT_TEAMS = ("data", "manager_worker", "work_stealing", "global_work_stealing")

STREAMS = 2
"""Workers on each device unless told otherwise: while one waits for the host to decide, the other computes."""


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
        "fused": ALL_SIX, "cusparse_spmm": WITHOUT_TEAMS, "cusparse_spgemm": WITHOUT_TEAMS
    }  # fmt: skip

    def __init__(self, devices: Sequence[Device] | None = None) -> None:
        self.devices: list[Device] = [*cuda_devices()] if devices is None else [*devices]

    def place(self, node_rank: int, node_size: int) -> int:
        """Take all devices if the process is alone on its node, and one if it is not; return the number of workers."""
        if node_size > 1:
            self.devices = [self.devices[node_rank % len(self.devices)]]
        return STREAMS * len(self.devices)

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> GpuPlan:
        """Pack the layers in host memory, in the kernel's layout."""
        return GpuPlan(network, kernel_name(self, options.kernel), options, n_workers)

    def warm_up(self, plan: GpuPlan, largest_group: int) -> None:
        """Bring the layers to the devices, and compile and load all kernels by running a few rows on each of them."""
        plan.on_devices = OnDevices(plan, self.devices, largest_group)
        if largest_group == 0:
            return
        rows = sp.csr_array(np.eye(2, plan.network.layers[0].n_inputs, dtype=np.float32))
        for worker in plan.on_devices.first_workers:
            group = self.open(plan, rows, np.arange(2), worker, output=True)
            self.run(plan, group, Control.for_workers(plan.n_workers), Team.of((worker,)), 0)
            self.close(plan, group)
        plan.on_devices.forget_counts()

    def open(self, plan: GpuPlan, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> DeviceGroup:
        """Point at the rows: they come to the device when their turn comes."""
        if plan.on_devices is None:
            plan.on_devices = OnDevices(plan, self.devices, len(rows))
        skip_empty = bool(plan.prunes and plan.network.zeros_stay[0])
        return DeviceGroup(inputs, rows, worker, output=output, skip_empty=skip_empty)

    def run(self, plan: GpuPlan, group: DeviceGroup, control: Control, team: Team, member: int) -> Outcome:
        """Put work into the member's stream until the group is through or the team has to leave."""
        assert plan.on_devices is not None
        meeting = group.meeting(team, control)
        lanes = [plan.on_devices.lane(worker) for worker in (group.worker, *team.workers[1:])]
        lane = lanes[member]
        with lane.at_work():
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

    def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """The layers in host memory, and once more while they are joined; what is on the devices is refused there."""
        kept = size.distinct_connections if options.columns == "merge" else size.connections
        entry_bytes = size.id_bytes if options.kernel == "fused" else PLAIN_ENTRY_BYTES
        return MemoryBytes.plain(size)._replace(plan=2 * entry_bytes * kept)

    def describe(self, plan: GpuPlan) -> PlanDescription:
        """Name the kernel, the optimisations that are on, and the devices."""
        return plan.describe()
