"""What the host does for a layer: Python time of this project, and calls into CuPy, where a device does nothing.

``python -m tests.gpu.launch_cost`` prints both for a layer of 1024 x 120, with nothing dropped. It is of the host alone: CuPy's
own part and the driver's are not in it, and no GPU was asked.
"""

from __future__ import annotations

import statistics
from collections import Counter
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.device import cuda
from backends.cupy_gpu.plan import GpuPlan
from sparsednn.backend import Control, KernelOptions, Team
from sparsednn.data.radixnet import radixnet
from tests.gpu import fake_streams
from tests.gpu.fake_cupy import Fake

ROUNDS = 101
FEW, MANY = 24, 120
"""Layers; what a run of many takes beyond one of few is their launches'."""


class Idle(Fake):
    """CuPy with one device, whose calls do nothing or are counted.

    Parameters
    ----------
    calls : Counter, optional
        Where calls are counted by name; not counted, for times.
    """

    def __init__(self, calls: Counter[str] | None = None) -> None:
        super().__init__(1)
        self.calls = calls
        event, cuda = _Event(), self.cuda
        in_streams = {
            "record": self._counted("record", lambda stream, again=None: event),
            "wait_event": self._counted("wait_event", lambda stream, event: None),
        }
        cuda.Stream = type("Stream", (_Stream,), in_streams)
        cuda.runtime.memcpyAsync = self._counted("memcpyAsync", cuda.runtime.memcpyAsync)
        cuda.Event = self._counted("Event", lambda: event)
        cuda.Device = type("Device", (_Device,), {"__enter__": self._counted("Device", lambda device: device)})
        cuda.get_elapsed_time = self._counted("get_elapsed_time", lambda begin, end: 1.0)
        cuda.nvtx.RangePush = self._counted("RangePush", lambda name: None)
        cuda.nvtx.RangePop = self._counted("RangePop", lambda: None)
        event.synchronize = self._counted("synchronize", lambda: None)  # type: ignore[method-assign]

    def _counted(self, name: str, call: Any) -> Any:
        if self.calls is None:
            return call
        calls = self.calls

        def counted(*given: Any) -> Any:
            calls[name] += 1
            return call(*given)

        return counted

    def kernel(self, name: str, number: int, flushes: bool) -> Any:
        if self.calls is None:
            return lambda grid, block, arguments, shared_mem=0: None
        calls = self.calls

        def counted(*given: Any, **options: Any) -> None:
            calls[f"launch {name}"] += 1

        return counted


class _Event:
    def synchronize(self) -> None:
        """It is over."""


class _Stream(fake_streams.Stream):
    """Made current without a look at what is current."""

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing."""


class _Device(fake_streams.Device):
    def __enter__(self) -> _Device:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing."""


def prepared(network: sparsednn.Network, n: int, calls: Counter[str] | None, **options: Any) -> tuple[CupyBackend, GpuPlan]:
    """The backend on an idle device, and the network packed and warm there for n instances; nothing is dropped."""
    found = Idle(calls)
    with mock.patch.object(cuda, "import_module", lambda name: found.sparse if "sparse" in name else found):
        backend = CupyBackend()
    plan = backend.prepare(network, KernelOptions(rows="none", columns="none", **options), 1)
    backend.warm_up(plan, n)
    return backend, plan


def run(backend: CupyBackend, plan: GpuPlan, inputs: sp.csr_array) -> float:
    """Take all instances through as one row group; return the seconds of that."""
    group = backend.open(plan, inputs, np.arange(inputs.shape[0]), 0, output=False)
    begin = perf_counter()
    backend.run(plan, group, Control.for_workers(1), Team.of((0,)), 0)
    return perf_counter() - begin


def calls_of_a_layer(inputs: sp.csr_array, **options: Any) -> dict[str, float]:
    """Return the calls into CuPy that a layer takes, by name, when it is on the device."""
    found = []
    for n_layers in (FEW, MANY):
        calls = Counter[str]()
        backend, plan = prepared(radixnet(1024, n_layers, radices=(4, 4, 4)), inputs.shape[0], calls, **options)
        run(backend, plan, inputs)
        calls.clear()
        run(backend, plan, inputs)
        found.append(calls)
    few, many = found
    return {name: (many[name] - few[name]) / (MANY - FEW) for name in many if many[name] != few[name]}


def seconds_of_a_layer(inputs: sp.csr_array, n_rounds: int = ROUNDS) -> float:
    """Return the host's time for a layer, by the medians of some runs."""
    times = []
    for n_layers in (FEW, MANY):
        backend, plan = prepared(radixnet(1024, n_layers, radices=(4, 4, 4)), inputs.shape[0], None)
        times.append(statistics.median(run(backend, plan, inputs) for _ in range(n_rounds)))
    return (times[1] - times[0]) / (MANY - FEW)


def main() -> None:
    """Print time and calls."""
    inputs = sp.csr_array(np.ones((128, 1024), np.float32))
    print(f"{1e6 * seconds_of_a_layer(inputs):.1f} us a layer")
    calls = calls_of_a_layer(inputs)
    print(f"{sum(calls.values()):.2f} calls: " + ", ".join(f"{name} {n:.2f}" for name, n in sorted(calls.items())))


if __name__ == "__main__":
    main()
