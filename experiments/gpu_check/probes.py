"""Times single layers and copies on a GPU by its own clock."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from sparsednn.backend import KernelOptions, load_backend
from sparsednn.data.radixnet import radixnet

ROWS, TOY_ROWS = 16_384, 128
"""Instances of the block that a layer is run on."""

CALLS, TOY_CALLS = 20, 1
"""Launches between two events."""

COPY_BYTES, TOY_COPY_BYTES = 2**28, 2**16


def layers(toy: bool, repeats: int) -> list[dict[str, Any]]:
    """Time one layer of each width with the fused kernel, on a block in which no instance is dropped.

    Returns
    -------
    list of dict
        Of each: neurons, columns, the kernel's variant, instances, seconds of a launch (all, median), multiply-adds a second.
    """
    backend: Any = load_backend("cupy")
    found = []
    for neurons in (1024,) if toy else (1024, 4096, 16384, 65536):
        network = radixnet(neurons, layers=_period(neurons))
        for columns in ("merge", "none"):
            plan = backend.prepare(network, KernelOptions("fused", rows="none", columns=columns), 1)
            found.append(
                {"neurons": neurons, "columns": columns} | _layer(backend, plan, TOY_ROWS if toy else ROWS, toy, repeats)
            )
    return found


def _period(neurons: int) -> int:
    """Layers of the smallest network of a width: its radices once."""
    return {1024: 6, 4096: 8, 16384: 10, 65536: 12}[neurons]


def _layer(backend: Any, plan: Any, n_rows: int, toy: bool, repeats: int) -> dict[str, Any]:
    """Time the second layer: the first has the width of the input, which is not merged."""
    backend.warm_up(plan, n_rows)
    lane, number = plan.on_devices.lane(0), 1
    layer, kernel, n_calls = plan.network.layers[number], plan.kernel, TOY_CALLS if toy else CALLS
    n_rows = min(n_rows, lane.block_rows)
    with lane.at_work():
        block = kernel.blank(lane, layer.n_inputs, n_rows)
        row = lane.upload(np.random.default_rng(1).random(block.n_padded, dtype=np.float32))
        block.x[: block.size].reshape(layer.n_inputs, -1)[...] = row  # on the device: the host may have less memory
        slices, made = kernel.share(layer, 0, 1), lane.layers.take(number)
        y, seconds = kernel.other(lane, block), []
        for _ in range(repeats + 1):
            begin = lane.stream.record()
            for _ in range(n_calls):
                count = kernel.compute(lane, plan.network, layer, made, block, y, (None, None), slices)
            end = lane.stream.record()
            end.synchronize()
            seconds.append(lane.device.seconds_between(begin, end) / n_calls)
    seconds = seconds[1:]  # the first one warms up
    rate = count / max(median(seconds), 1e-12)
    return {
        "kernel": layer.kernel, "instances": n_rows, "multiply_adds": count, "seconds": seconds,
        "seconds_median": median(seconds), "multiply_adds_per_second": rate,
    }  # fmt: skip


def copies(toy: bool, repeats: int) -> dict[str, Any]:
    """Time copies from pinned memory of the host to the first device."""
    backend: Any = load_backend("cupy")
    device, n_bytes = backend.devices[0], TOY_COPY_BYTES if toy else COPY_BYTES
    host, stream, seconds = np.zeros(n_bytes, np.uint8), device.new_stream(), []
    with device.errors(), device.current(stream), device.pin(host):
        target = device.empty(n_bytes, np.uint8)
        for _ in range(repeats + 1):
            begin = stream.record()
            device.copy_in(host, target, stream)
            end = stream.record()
            end.synchronize()
            seconds.append(device.seconds_between(begin, end))
    seconds = seconds[1:]
    return {"bytes": n_bytes, "seconds": seconds, "bytes_per_second": n_bytes / max(median(seconds), 1e-12)}
