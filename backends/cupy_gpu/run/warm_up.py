"""Makes every call to a device that a run may make once before it: on rows that live, whatever the network would do to them."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import scipy.sparse as sp

from backends.cupy_gpu.kernels.dense import DenseBlock, outputs, sums
from backends.cupy_gpu.layout.inputs import InputRows
from backends.cupy_gpu.layout.packed import PackedLayer
from backends.cupy_gpu.plan import GpuPlan
from backends.cupy_gpu.run.leader import find_twins
from backends.cupy_gpu.run.worker import Lane

N_ROWS = 2
"""Instances that are computed: of two, one can be the twin of the other."""


def warm_up(plan: GpuPlan, lanes: list[Lane]) -> None:
    """Compile and load all kernels, and take all memory, on the devices and in the streams of all workers."""
    for lane in lanes:
        with lane.at_work():
            for number in _of_each_kind(plan):
                _compute(plan, lane, number)
            _compute_many(plan, lane)
            if plan.kernel.is_dense:
                _decide(plan, lane)
            lane.stream.synchronize()
    if plan.kernel.has_teams:
        _connect(lanes)


def _of_each_kind(plan: GpuPlan) -> list[int]:
    """Return a layer for each kernel that computes one, and each way of its activation: the one with most connections."""
    layers, found = plan.network.layers, dict[Any, int]()
    for number in sorted(range(len(layers)), key=lambda number: -layers[number].nnz):
        found.setdefault((layers[number].kernel, "activations" in layers[number].parts), number)
    return sorted(found.values())


def _compute(plan: GpuPlan, lane: Lane, number: int) -> None:
    """Put a layer into the stream, on a block of its own."""
    kernel, layer = plan.kernel, plan.network.layers[number]
    made = lane.layers.take(number)
    for flags in ((None, None), (lane.flags[: lane.block_rows], lane.flags[lane.block_rows :])):
        block = kernel.load(lane, plan.network, _ones(layer, min(N_ROWS, lane.block_rows)))
        if kernel.has_teams:
            y, slices = kernel.other(lane, block), kernel.share(layer, 0, 1)
            kernel.compute(lane, plan.network, layer, made, block, y, flags, slices)
        else:
            after, _ = kernel.advance(lane, plan.network, layer, made, block, flags)
            if not kernel.is_dense:
                kernel.result(lane, after, np.arange(1, dtype=np.int32))
    lane.layers.give_back(number)


def _compute_many(plan: GpuPlan, lane: Lane) -> None:
    """Put the first of the layers that are computed several at a time into the stream, if there are any."""
    several = [number for number, end in enumerate(plan.stretches) if plan.runs[number] and end - number > 1]
    if several:
        number, layers = several[0], plan.network.layers
        block = plan.kernel.load(lane, plan.network, _ones(layers[number], min(N_ROWS, lane.block_rows)))
        plan.kernel.advance_many(lane, plan.network, range(number, plan.stretches[number]), block, (None, None))


def _ones(layer: PackedLayer, n: int) -> InputRows:
    return InputRows.all_of(sp.csr_array(np.ones((n, layer.n_inputs), np.float32)))


def _decide(plan: GpuPlan, lane: Lane) -> None:
    """Look for what can be dropped, drop it, and take results, on instances of one neuron that are twins."""
    last = np.arange(1, dtype=np.int32)
    lane.device.zero(lane.flags, lane.stream)
    lane.download(lane.flags)
    block: DenseBlock = plan.kernel.load(lane, plan.network, InputRows.all_of(sp.csr_array(np.ones((N_ROWS, 1), np.float32))))
    find_twins(lane, block, np.arange(N_ROWS), 1)
    left = plan.kernel.pick(lane, block, np.arange(1))
    sums(lane, left, last)
    list(outputs(lane, left, last, plan.kernel.spare(lane, left)))


def _connect(lanes: list[Lane]) -> None:
    """Copy something from each device to each other one."""
    one_each = {lane.device.number: lane for lane in reversed(lanes)}
    for one, other in permutations(one_each.values(), 2):
        with one.at_work():
            one.device.copy_across(one.flags[:1], other.flags[:1], one.stream)
            one.stream.synchronize()
