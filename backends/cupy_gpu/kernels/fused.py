"""Runs the fused kernel: a layer in one pass over dense blocks, bits as on the CPU, alone or split over a team.

Ideas of two champions of the Graph Challenge: Hidayetoglu et al., "At-Scale Sparse Deep Neural Network Inference With Efficient
GPU Implementation", HPEC 2020 (sliced ELL with small ids, a minibatch in registers, inputs staged in shared memory, layers
streamed from the host); Xin et al., "Fast Sparse Deep Neural Network Inference with Flexible SpMM Optimization Space
Exploration", HPEC 2021 (variants of one kernel for what a layer is like).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import Device, DeviceArray
from backends.cupy_gpu.kernels.dense import DenseBlock, fill, padded, pick
from backends.cupy_gpu.kernels.source import LANES, MANY, MINIBATCH, SLICE, THREADS, TILE, WARPS
from backends.cupy_gpu.layout.inputs import InputRows
from backends.cupy_gpu.layout.narrow import shape
from backends.cupy_gpu.layout.packed import PackedLayer, PackedNetwork
from backends.cupy_gpu.layout.residency import Tables
from backends.cupy_gpu.run.worker import Lane, Launch

PARTS = ("ids", "weights", "slices", "degrees", "bias", "map", "maps", "activations")
MOST_TILES = 2**15
"""Tiles along a grid's second axis, which has 65,535 places."""

NOWHERE = -1
"""Where a part begins that a layer does not have."""


class FusedKernel:
    """Blocks neuron by neuron, layers in sliced ELL."""

    name, fused, tile, has_teams, is_dense = "fused", True, TILE, True, True

    def row_bytes(self, network: PackedNetwork) -> int:
        """Return the memory that an instance takes: before a layer, and after it."""
        return 2 * 4 * network.widest

    def most_rows(self, network: PackedNetwork) -> int:
        """Return how many instances a worker may take at a time, however much memory there is."""
        return MOST_TILES * TILE

    def reserve(self, lane: Lane, network: PackedNetwork) -> None:
        """Take the worker's two arrays, which hold all its blocks."""
        lane.buffers(network.widest * padded(lane.block_rows, by_instance=True))

    def make(self, device: Device, layer: PackedLayer, data: DeviceArray) -> DeviceArray:
        """Return a layer as the kernel takes it: its bytes as they are, data : uint8 (layer.n_bytes,)."""
        return data

    def load(self, lane: Lane, network: PackedNetwork, inputs: InputRows) -> DenseBlock:
        """Bring instances into the worker's first array."""
        n, n_neurons = inputs.shape
        self.reserve(lane, network)
        block = self.blank(lane, n_neurons, n)
        fill(lane, block, inputs)
        return block

    def blank(self, lane: Lane, n_neurons: int, n: int) -> DenseBlock:
        """Return a block of instances in the worker's first array, to be filled."""
        x = lane.buffers(0)[0]
        return DenseBlock(x, n_neurons=n_neurons, n=n, n_padded=padded(n, by_instance=True), by_instance=True)

    def pick(self, lane: Lane, block: DenseBlock, keep: NDArray[np.int64]) -> DenseBlock:
        """Copy the instances that are left into the worker's other array; keep : int64 (n_kept,), ascending."""
        return pick(lane, block, keep, self.other(lane, block))

    def spare(self, lane: Lane, block: DenseBlock) -> DeviceArray:
        """Return memory for `outputs` of a block that is through."""
        return self.other(lane, block)

    def other(self, lane: Lane, block: DenseBlock) -> DeviceArray:
        """Return the worker's array that the block is not in."""
        one, other = lane.buffers(0)
        return other if block.x is one else one

    def share(self, layer: PackedLayer, member: int, n_members: int) -> tuple[int, int]:
        """Return the slices that are a member's, by terms."""
        if n_members == 1:
            return 0, len(layer.slice_work) - 1
        total = int(layer.slice_work[-1])
        bounds = np.searchsorted(layer.slice_work, [total * m // n_members for m in range(1, n_members)]).tolist()
        bounds = [0, *bounds, len(layer.slice_work) - 1]
        return bounds[member], bounds[member + 1]

    def compute(
        self, lane: Lane, network: PackedNetwork, layer: PackedLayer, made: Any, block: DenseBlock, y: DeviceArray,
        flags: tuple[Any, Any], slices: tuple[int, int],
    ) -> int:  # fmt: skip
        """Put some slices of a layer's outputs into the stream; return the multiply-adds.

        y : float32 (at least n_outputs * n_padded,), on the device; result
        flags : a pair of uint8 (n_padded,), on the device, or of None; see `kernels.cu`
        """
        first, last = slices
        if last > first:
            grid, arguments = self._call(network, layer, made, block, y, flags, slices)
            lane.launch(layer.kernel, grid, (LANES, WARPS), *arguments, shared_bytes=layer.shared_bytes)
        return block.n * int(layer.slice_work[last] - layer.slice_work[first])

    def advance(
        self, lane: Lane, network: PackedNetwork, layer: PackedLayer, made: Any, block: DenseBlock, flags: tuple[Any, Any]
    ) -> tuple[DenseBlock, int]:
        """Put all of a layer into the stream, from one of the lane's arrays to the other, with flags of the lane or none.

        Returns the next block and the multiply-adds.
        """
        key = (id(layer), block.n_padded, block.x is lane.buffers(0)[0], flags[0] is None)
        found = lane.prepared(key, made, lambda: self._prepared(lane, network, layer, made, block, flags))
        found.put()
        n, n_padded = block.n, block.n_padded
        return DenseBlock(found.y, n_neurons=layer.n_outputs, n=n, n_padded=n_padded, by_instance=True), n * found.n_terms

    def advance_many(
        self, lane: Lane, network: PackedNetwork, layers: range, block: DenseBlock, flags: tuple[Any, Any]
    ) -> tuple[DenseBlock, int]:
        """Put a part of a run of narrow layers into the stream in one launch; else as `advance`."""
        tables = lane.layers.tables()
        assert tables is not None
        key = (layers, block.n_padded, block.x is lane.buffers(0)[0], flags[0] is None)
        found = lane.prepared(key, tables.store, lambda: self._many(lane, network, layers, tables, block, flags))
        found.put()
        n, n_padded, n_neurons = block.n, block.n_padded, network.layers[layers[-1]].n_outputs
        return DenseBlock(found.y, n_neurons=n_neurons, n=n, n_padded=n_padded, by_instance=True), n * found.n_terms

    def _many(
        self, lane: Lane, network: PackedNetwork, layers: range, tables: Tables, block: DenseBlock, flags: tuple[Any, Any]
    ) -> Launch:
        y, part = self.other(lane, block), network.layers[layers.start : layers.stop]
        lanes, shared_bytes = shape(part)
        grid, threads = (block.n_padded // (MINIBATCH * lanes),), (lanes, THREADS // lanes)
        numbers = (np.int32(layers.start), np.int32(layers.stop), np.int32(network.bias_everywhere))
        arguments = (block.x, y, np.int64(block.n_padded), *tables, *numbers, *flags)
        put = lane.device.prepare(MANY, grid, threads, arguments, shared_bytes)
        return Launch(tables.store, put, y, sum(int(layer.slice_work[-1]) for layer in part))

    def _prepared(
        self, lane: Lane, network: PackedNetwork, layer: PackedLayer, made: Any, block: DenseBlock, flags: tuple[Any, Any]
    ) -> Launch:
        y, slices = self.other(lane, block), self.share(layer, 0, 1)
        grid, arguments = self._call(network, layer, made, block, y, flags, slices)
        put = lane.device.prepare(layer.kernel, grid, (LANES, WARPS), arguments, layer.shared_bytes)
        return Launch(made, put, y, int(layer.slice_work[-1]))

    def _call(
        self, network: PackedNetwork, layer: PackedLayer, made: Any, block: DenseBlock, y: DeviceArray, flags: tuple[Any, Any],
        slices: tuple[int, int],
    ) -> tuple[tuple[int, int], tuple[Any, ...]]:  # fmt: skip
        """Return the grid, and the arguments of the kernel."""
        first, last = slices
        return (last - first, block.n_padded // TILE), (
            *(block.x, y, np.int64(block.n_padded), made),
            *(np.int64(layer.parts.get(part, NOWHERE)) for part in PARTS),
            *(np.float32(layer.weight), np.int32(first), np.int32(layer.n_outputs), np.int32(network.bias_everywhere)),
            *(np.float32(layer.low), np.float32(layer.high), *flags),
        )

    def rows_of(self, layer: PackedLayer, block: DenseBlock, slices: tuple[int, int]) -> slice:
        """Return where the outputs of some slices lie in the next block."""
        first, last = (min(bound * SLICE, layer.n_outputs) * block.n_padded for bound in slices)
        return slice(first, last)
