"""Splits a layer's outputs over a team on one or several devices, and gives all devices all outputs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import DeviceArray, Event
from backends.cupy_gpu.kernels.dense import DenseBlock
from backends.cupy_gpu.plan import GpuPlan
from backends.cupy_gpu.run.worker import KERNEL, Lane

if TYPE_CHECKING:
    from sparsednn.backend import Outcome, Team


@dataclass(slots=True)
class Step:
    """A leader's decision for its team: to leave, or to compute a layer on a block.

    Attributes
    ----------
    outcome : Outcome, or None
    layer : int
    block : DenseBlock or SparseBlock
        The activations before the layer, on the leader's device.
    replicas : dict of int to pair of arrays
        For each device of the team, by number: the block's activations, and where the next ones go.
    flagged : bool
        Whether instances that may be dropped are to be found.
    ready, done : events
        From when on the activations are there; and, of each member, from when on its outputs are.
    counts, flags
        Of each member: multiply-adds, and what it has found of the instances.
    """

    outcome: Outcome | None
    layer: int = 0
    block: Any = None
    replicas: dict[int, tuple[DeviceArray, DeviceArray]] = field(default_factory=dict)
    flagged: bool = False
    ready: Event | None = None
    done: list[Event | None] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    flags: list[NDArray[np.uint8] | None] = field(default_factory=list)


class DeviceTeam:
    """The members of a team of several, with their lanes and devices.

    Parameters
    ----------
    plan : GpuPlan
    team : Team
    lanes : list of Lane
        Of each member; the leader's has the group's memory.
    """

    def __init__(self, plan: GpuPlan, team: Team, lanes: list[Lane]) -> None:
        self._plan, self._team, self._lanes = plan, team, lanes
        self._homes = {lane.device.number: lane for lane in reversed(lanes)}
        self._everywhere = len(self._homes) == 1
        self._side = 0

    def moved(self) -> None:
        """Say that the block is on the leader's device only."""
        self._everywhere = len(self._homes) == 1

    def begin(self, layer: int, block: Any, *, flagged: bool) -> Step:
        """Return the next step, for which the block is, or will be, on all devices."""
        n, leader = len(self._lanes), self._lanes[0]
        step = Step(None, layer, block, flagged=flagged, done=[None] * n, counts=[0] * n, flags=[None] * n)
        self._side ^= 1
        for number, lane in self._homes.items():
            step.replicas[number] = (block.x, self._plan.kernel.other(leader, block)) if lane is leader else self._replica(lane)
        if not self._everywhere:
            self._spread(step)
        step.ready = leader.stream.record()
        return step

    def compute(self, lane: Lane, step: Step, member: int) -> DenseBlock:
        """Put a member's share of a layer into its stream; return the next block, as far as the member knows it."""
        plan, flags = self._plan, (None, None)
        layer = plan.network.layers[step.layer]
        if member > 0 and step.ready is not None:
            lane.stream.wait(step.ready)
        n = step.block.n
        if step.flagged:
            lane.device.zero(lane.flags, lane.stream)
            flags = (lane.flags[: lane.block_rows], lane.flags[lane.block_rows :])
        made = lane.layers.take(step.layer)
        with lane.device.range(f"layer {step.layer}"), lane.timing(KERNEL) if member == 0 else nullcontext():
            after, step.counts[member] = self._share(lane, step, member, layer, made, flags)
        lane.layers.give_back(step.layer)
        self._team.count(member, step.counts[member])
        if step.flagged:
            found = lane.download(lane.flags)
            step.flags[member] = np.stack([found[:n], found[lane.block_rows :][:n]])
        step.done[member] = lane.stream.record()
        return after

    def end(self, step: Step, after: Any) -> Any:
        """Let the leader's stream go on when all members have done their share; return the next block."""
        for event in step.done[1:]:
            assert event is not None
            self._lanes[0].stream.wait(event)
        self._everywhere = True
        return after

    def _share(
        self, lane: Lane, step: Step, member: int, layer: Any, made: Any, flags: tuple[Any, Any]
    ) -> tuple[DenseBlock, int]:  # fmt: skip
        kernel, block, number = self._plan.kernel, step.block, lane.device.number
        x, y = step.replicas[number]
        here = DenseBlock(x, n_neurons=block.n_neurons, n=block.n, n_padded=block.n_padded, by_instance=True)
        slices = kernel.share(layer, member, len(self._lanes))
        count = kernel.compute(lane, self._plan.network, layer, made, here, y, flags, slices)
        part = kernel.rows_of(layer, here, slices)
        for other, (_, there) in step.replicas.items():
            if other != number and part.stop > part.start:
                lane.device.copy_across(y[part], there[part], lane.stream)
        after = DenseBlock(y, n_neurons=layer.n_outputs, n=block.n, n_padded=block.n_padded, by_instance=True)
        return after, count

    def _replica(self, lane: Lane) -> tuple[DeviceArray, DeviceArray]:
        """The two arrays of another device's first member, which take turns."""
        arrays = lane.buffers(self._plan.network.widest * self._lanes[0].block_rows)
        return arrays[1 - self._side], arrays[self._side]

    def _spread(self, step: Step) -> None:
        """Copy the block to the other devices."""
        leader, size = self._lanes[0], step.block.size
        for number, (x, _) in step.replicas.items():
            if number != leader.device.number:
                leader.device.copy_across(step.block.x[:size], x[:size], leader.stream)


def found_by_all(flags: list[NDArray[np.uint8] | None]) -> NDArray[np.bool_]:
    """Return what all members have found together: bool, shape (2, n)."""
    found = [np.asarray(flag) for flag in flags]
    together: NDArray[np.bool_] = np.bitwise_or.reduce(found).astype(np.bool_)
    return together
