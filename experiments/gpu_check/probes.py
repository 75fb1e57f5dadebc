"""Times single layers on a GPU by its own clock, and launches by the host's."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from experiments.gpu_check.facts import peak_bytes_per_s
from sparsednn.backend import KernelOptions, load_backend
from sparsednn.data.radixnet import radixnet

ROWS, TOY_ROWS = 16_384, 128
"""Instances of the block that a layer is run on."""

CALLS, TOY_CALLS = 20, 1
"""Launches between two events."""

LAUNCHES, TOY_LAUNCHES = 2_000, 3


def layers(toy: bool, repeats: int) -> list[dict[str, Any]]:
    """Time one layer of each width with the fused kernel, on a block in which no instance is dropped.

    Returns
    -------
    list of dict
        Of each: neurons, columns, the kernel's variant, instances, seconds of a launch (all, median), multiply-adds a second;
        bytes that a launch reads and writes at least, a second, and their share of what the memory could do by its clock.
    """
    backend: Any = load_backend("cupy")
    found = []
    for neurons in (1024,) if toy else (1024, 4096, 16384, 65536):
        network = radixnet(neurons, layers=period(neurons))
        for columns in ("merge", "none"):
            plan = backend.prepare(network, KernelOptions("fused", rows="none", columns=columns), 1)
            found.append(
                {"neurons": neurons, "columns": columns} | _layer(backend, plan, TOY_ROWS if toy else ROWS, toy, repeats)
            )
    return found


def period(neurons: int) -> int:
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
    taken_s, peak = max(median(seconds), 1e-12), peak_bytes_per_s(lane.device.facts())
    n_bytes = 4 * n_rows * (layer.n_inputs + layer.n_outputs) + layer.n_bytes
    return {
        "kernel": layer.kernel, "instances": n_rows, "multiply_adds": count, "seconds": seconds,
        "seconds_median": median(seconds), "multiply_adds_per_second": count / taken_s, "bytes_per_second": n_bytes / taken_s,
        "share_of_peak": n_bytes / taken_s / peak if peak else None,
    }  # fmt: skip


def launches(toy: bool, repeats: int) -> dict[str, Any]:
    """Time how many layers a second the host can launch: of one tile, so small that the device waits for the host.

    Returns
    -------
    dict
        launches of a repeat; seconds of each repeat by the host's clock, until the device is through; median of a launch.
    """
    backend: Any = load_backend("cupy")
    plan = backend.prepare(radixnet(1024, layers=6), KernelOptions("fused", rows="none", columns="merge"), 1)
    backend.warm_up(plan, 1)
    lane, seconds, n = plan.on_devices.lane(0), [], TOY_LAUNCHES if toy else LAUNCHES
    layer = plan.network.layers[1]
    with lane.at_work():
        block, made = plan.kernel.blank(lane, layer.n_inputs, 1), lane.layers.take(1)
        lane.device.zero(block.x, lane.stream)
        for _ in range(repeats + 1):
            lane.stream.synchronize()
            begin = perf_counter()
            for _ in range(n):
                plan.kernel.advance(lane, plan.network, layer, made, block, (None, None))
            lane.stream.synchronize()
            seconds.append(perf_counter() - begin)
    seconds = seconds[1:]  # the first one warms up
    return {"kernel": layer.kernel, "launches": n, "seconds": seconds, "seconds_per_launch": median(seconds) / n}
