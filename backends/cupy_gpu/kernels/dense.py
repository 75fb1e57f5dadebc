"""Fills, picks and compares dense blocks of activations on a device, for the kernels that multiply sparse layers by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import DeviceArray
from backends.cupy_gpu.kernels.source import LANES, TILE, WARPS
from backends.cupy_gpu.layout.inputs import InputRows
from backends.cupy_gpu.run.worker import Lane

THREADS = 256
"""Threads of a block where each has an instance."""

MOST_BLOCKS = 2**15
"""Blocks of threads along a grid's second axis: the rest of the work is done in turn."""

OUTPUT_ROWS = 1024
"""Instances whose last activations come to the host at a time."""


@dataclass(slots=True, kw_only=True)
class DenseBlock:
    """Activations of some instances.

    Attributes
    ----------
    x : float32 array of the device, shape (at least n_neurons * n_padded,)
    n_neurons, n : int
    n_padded : int
        Instances with those that only fill up a tile.
    by_instance : bool
        Whether instances lie side by side (neuron by neuron), or neurons do (instance by instance).
    """

    x: DeviceArray = field(kw_only=False)
    n_neurons: int
    n: int
    n_padded: int
    by_instance: bool

    @property
    def strides(self) -> tuple[np.int64, np.int64]:
        """The steps from a neuron to the next, and from an instance to the next."""
        return (np.int64(self.n_padded), np.int64(1)) if self.by_instance else (np.int64(1), np.int64(self.n_neurons))

    @property
    def size(self) -> int:
        """Floats in use."""
        return self.n_neurons * self.n_padded

    def grid(self) -> tuple[int, int]:
        """Blocks of 32 x 8 threads that go over all entries: along what lies side by side, as the kernels see it."""
        n_fast, n_slow = (self.n_padded, self.n_neurons) if self.strides[1] == 1 else (self.n_neurons, self.n_padded)
        return max(-(-n_fast // LANES), 1), min(max(-(-n_slow // WARPS), 1), MOST_BLOCKS)


def padded(n: int, *, by_instance: bool) -> int:
    """Return how many instances a block of `n` has room for: whole tiles of them where they lie side by side."""
    return max(-(-n // TILE), 1) * TILE if by_instance else n


def fill(lane: Lane, block: DenseBlock, inputs: InputRows) -> None:
    """Spread instances out into a block that has room for as many."""
    lane.device.zero(block.x[: block.size], lane.stream)
    rows = inputs.on(lane)
    lane.launch(
        "fill_rows", (-(-block.n // WARPS),), (LANES, WARPS), rows.begins, rows.ends, rows.entries.indices, rows.entries.values,
        rows.value, np.int32(block.n), block.x, *block.strides,
    )  # fmt: skip


def pick(lane: Lane, block: DenseBlock, keep: NDArray[np.int64], x: DeviceArray) -> DenseBlock:
    """Return a block of some instances of another one.

    keep : int64 (n_kept,)    the instances, ascending
    x : float32 (at least n_neurons * n_padded,)    memory for the new block, on the device
    """
    n_kept, by_instance = len(keep), block.by_instance
    n_padded = padded(n_kept, by_instance=by_instance)
    picked = DenseBlock(x, n_neurons=block.n_neurons, n=n_kept, n_padded=n_padded, by_instance=by_instance)
    (sj, si), (tj, ti) = block.strides, picked.strides
    ids = lane.upload(keep.astype(np.int32))
    lane.launch(
        "pick_rows", picked.grid(), (LANES, WARPS), block.x, sj, si, x, tj, ti, np.int32(block.n_neurons), ids,
        np.int32(len(keep)), np.int32(picked.n_padded),
    )  # fmt: skip
    lane.stream.synchronize()
    return picked


def digests(lane: Lane, block: DenseBlock) -> DeviceArray:
    """Return a hash of each instance's bits: uint64, on the device, where it is there."""
    found = lane.device.empty(block.n, np.uint64)
    lane.launch(
        "hash_rows", (-(-block.n // THREADS),), (THREADS,), block.x, *block.strides, np.int32(block.n_neurons),
        np.int32(block.n), found,
    )  # fmt: skip
    lane.stream.synchronize()
    return found


def same(lane: Lane, block: DenseBlock, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of pairs of instances whether their bits are the same: bool (n_pairs,); one, other : int64 (n_pairs,)."""
    found = lane.device.empty(len(one), np.uint8)
    pairs = [lane.upload(ids.astype(np.int32)) for ids in (one, other)]
    lane.launch(
        "same_rows", (-(-len(one) // THREADS),), (THREADS,), block.x, *block.strides, np.int32(block.n_neurons), *pairs,
        np.int32(len(one)), found,
    )  # fmt: skip
    return lane.download(found).astype(np.bool_)


def sums(lane: Lane, block: DenseBlock, last: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the sum of each instance, neuron by neuron in the order of `last`: float64 (n,); last : int32 (n_last,)."""
    found, order = lane.device.empty(block.n, np.float64), lane.upload(last)
    lane.launch(
        "sum_rows", (-(-block.n // THREADS),), (THREADS,), block.x, *block.strides, np.int32(block.n), order,
        np.int32(len(last)), found,
    )  # fmt: skip
    return lane.download(found)


def output_floats(block: DenseBlock) -> int:
    """Return how much memory `outputs` needs for a block."""
    return block.n_neurons * min(OUTPUT_ROWS, block.n_padded)


def outputs(lane: Lane, block: DenseBlock, last: NDArray[np.int32], memory: DeviceArray) -> Iterator[sp.csr_array]:
    """Yield the activations of some neurons, some instances at a time: float32 CSR.

    last : int32 (n_last,)    the neurons
    memory : float32 (at least as many as `output_floats`,), on the device
    """
    for start in range(0, block.n, OUTPUT_ROWS):
        part = pick(lane, block, np.arange(start, min(start + OUTPUT_ROWS, block.n)), memory)
        values = lane.download(part.x[: part.size])
        dense = values.reshape(part.n_neurons, -1).T[: part.n] if part.by_instance else values.reshape(part.n, -1)
        yield sp.csr_array(dense[:, last])
