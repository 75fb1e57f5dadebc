"""Times what a GPU's memory and links do, by its own clock: from and to the host, within its memory, and between GPUs."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from experiments.gpu_check.facts import LeftOutError, peak_bytes_per_s
from sparsednn.backend import load_backend
from sparsednn.system.memory import available_bytes

COPY_BYTES, MEMORY_BYTES, PEER_BYTES = 2**28, 2**30, 2**28
TOY_BYTES, TOY_MEMORY_BYTES = 2**16, 130_000
SHARE = 8
"""At most this part of the memory that is free, of the host and of a device, is taken for a copy."""


def copies(toy: bool, repeats: int) -> dict[str, Any]:
    """Time copies between the host and the first device: from pinned memory, from pageable memory, and back.

    Returns
    -------
    dict
        bytes; of pinned memory whether it could be pinned, seconds and bytes a second; the last two of pageable memory, and of
        copies to the host.
    """
    backend: Any = load_backend("cupy")
    device = backend.devices[0]
    n_bytes = _n_bytes(TOY_BYTES if toy else COPY_BYTES, device.free_bytes(), available_bytes())
    host, stream = np.zeros(n_bytes, np.uint8), device.new_stream()
    with device.errors(), device.current(stream):
        pageable = _taken(device, stream, repeats, lambda: device.upload(host, stream))
        target = device.empty(n_bytes, np.uint8)
        back = _taken(device, stream, repeats, lambda: device.download(target, stream))
        with device.pin(host) as could_be_pinned:
            seconds = _taken(device, stream, repeats, lambda: device.copy_in(host, target, stream))
    return {
        "bytes": n_bytes, "pinned": could_be_pinned, "seconds": seconds, "bytes_per_second": _rate(n_bytes, seconds),
        "pageable_seconds": pageable, "pageable_bytes_per_second": _rate(n_bytes, pageable),
        "back_seconds": back, "back_bytes_per_second": _rate(n_bytes, back),
    }  # fmt: skip


def bandwidth(toy: bool, repeats: int) -> list[dict[str, Any]]:
    """Time how each device fills its memory with zeros, and copies within it.

    Returns
    -------
    list of dict
        Of each: number, bytes, bytes a second filled, bytes a second read and written by copies; the memory's peak, if the
        driver tells its clock, and the copies' share of it.
    """
    backend: Any = load_backend("cupy")
    return [_within(device, toy, repeats) for device in backend.devices]


def _within(device: Any, toy: bool, repeats: int) -> dict[str, Any]:
    stream, n_bytes = device.new_stream(), _n_bytes(TOY_MEMORY_BYTES if toy else MEMORY_BYTES, device.free_bytes())
    with device.errors(), device.current(stream):
        one, other = (device.empty(n_bytes, np.uint8) for _ in range(2))
        filled = _rate(n_bytes, _taken(device, stream, repeats, lambda: device.zero(one, stream)))
        copied = _rate(2 * n_bytes, _taken(device, stream, repeats, lambda: _copy(one, other)))
    peak = peak_bytes_per_s(device.facts())
    return {
        "number": device.number, "bytes": n_bytes, "filled_per_second": filled, "copied_per_second": copied,
        "peak_bytes_per_s": peak, "share_of_peak": copied / peak if peak else None,
    }  # fmt: skip


def peers(toy: bool, repeats: int) -> list[dict[str, Any]]:
    """Time copies from each device to each other one; ``direct`` says whether they go without the host.

    Raises
    ------
    LeftOutError
        If there is one device only.
    """
    backend: Any = load_backend("cupy")
    if len(backend.devices) < 2:
        raise LeftOutError("there is one GPU only")
    reaches = {device.number: device.describe().get("peers") for device in backend.devices}
    return [
        {"from": source.number, "to": target.number, "direct": None if (of := reaches[target.number]) is None
         else source.number in of, **_across(source, target, toy, repeats)}
        for source in backend.devices for target in backend.devices if source is not target
    ]  # fmt: skip


def _across(source: Any, target: Any, toy: bool, repeats: int) -> dict[str, Any]:
    n_bytes, stream = _n_bytes(TOY_BYTES if toy else PEER_BYTES, source.free_bytes(), target.free_bytes()), source.new_stream()
    there = target.new_stream()
    with target.errors(), target.current(there):
        received = target.empty(n_bytes, np.uint8)
    with source.errors(), source.current(stream):
        sent = source.empty(n_bytes, np.uint8)
        seconds = _taken(source, stream, repeats, lambda: source.copy_across(sent, received, stream))
    return {"bytes": n_bytes, "seconds": seconds, "bytes_per_second": _rate(n_bytes, seconds)}


def _n_bytes(wanted: int, *free: int) -> int:
    """Return how many bytes to copy: what is wanted, or what the memories involved have room for."""
    return max(min(wanted, *(one // SHARE for one in free)), 1)


def _copy(source: Any, target: Any) -> None:
    target[...] = source


def _rate(n_bytes: int, seconds: list[float]) -> float:
    return n_bytes / max(median(seconds), 1e-12)


def _taken(device: Any, stream: Any, repeats: int, work: Callable[[], Any]) -> list[float]:
    """Return what some work takes by the device's clock, some times; the first one warms up."""
    seconds = []
    for _ in range(repeats + 1):
        begin = stream.record()
        kept = work()
        end = stream.record()
        end.synchronize()
        seconds.append(device.seconds_between(begin, end))
        del kept
    return seconds[1:]
