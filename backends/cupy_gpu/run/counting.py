"""Counts nonzero activations on a device, layer by layer, for cost models."""

from __future__ import annotations

import threading

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.cupy_gpu.kernels.dense import DenseBlock
from backends.cupy_gpu.plan import GpuPlan
from backends.cupy_gpu.run.worker import Lane

ONE_AT_A_TIME = threading.Lock()
"""Threads that count share the first worker's memory."""


def count_nonzeros(plan: GpuPlan, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return how many activations of each row are nonzero before each layer and after the last, int32 (n_layers + 1, n_rows).

    rows : int64 (n_rows,), 0-based
    """
    assert plan.on_devices is not None
    lane, found = plan.on_devices.lane(0), np.zeros((len(plan.network.layers) + 1, len(rows)), np.int32)
    with ONE_AT_A_TIME, lane.at_work():
        for first in range(0, len(rows), lane.block_rows):
            part = slice(first, min(first + lane.block_rows, len(rows)))
            chosen = plan.on_devices.inputs.choose(inputs, rows[part])
            block = plan.kernel.load(lane, plan.network, chosen)
            found[0, part] = _nonzeros(lane, block)
            for number, layer in enumerate(plan.network.layers):
                made = lane.layers.take(number)
                block, _ = plan.kernel.advance(lane, plan.network, layer, made, block, (None, None))
                lane.layers.give_back(number)
                found[number + 1, part] = _nonzeros(lane, block)
    return found


def _nonzeros(lane: Lane, block: DenseBlock) -> NDArray[np.int64]:
    """Count those of each instance: int64 (n,)."""
    x = block.x[: block.size].reshape(block.n_neurons, -1)[:, : block.n]
    return lane.download(lane.device.xp.count_nonzero(x, axis=0))
