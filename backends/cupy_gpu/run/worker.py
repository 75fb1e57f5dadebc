"""Gives a worker its stream of a device, its memory for activations, and its layers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import Device, DeviceArray, Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.cupy_gpu.layout.residency import Layers


KERNEL, UPLOAD = "kernel", "upload"
"""What is timed: layers, of a team those of its leader; and copies of inputs to the device."""


class Lane:
    """The stream, the memory and the layers of one worker.

    Parameters
    ----------
    device : Device
    block_rows : int
        Instances that it takes at a time.
    """

    def __init__(self, device: Device, block_rows: int) -> None:
        self.device, self.block_rows = device, block_rows
        self.stream = device.new_stream()
        self.layers: Layers
        with device.current(self.stream):
            self.flags = device.empty(2 * block_rows, np.uint8)
        self._buffers: list[DeviceArray] = []
        self._timed: dict[str, list[tuple[Event, Event]]] = {}

    def buffers(self, n_floats: int) -> list[DeviceArray]:
        """Return two arrays of at least `n_floats` floats: the same as before, while these are large enough."""
        if not self._buffers or len(self._buffers[0]) < n_floats:
            self._buffers = []
            self._buffers = [self.device.empty(n_floats, np.float32) for _ in range(2)]
        return self._buffers

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Note when the device begins and ends with what is put into the stream in the context."""
        begin = self.stream.record()
        yield
        self._timed.setdefault(what, []).append((begin, self.stream.record()))

    def seconds(self, what: str) -> float:
        """Return how long the device took for all that is noted under a name, which must be done by now."""
        return sum(self.device.seconds_between(*events) for events in self._timed.get(what, []))

    def forget_times(self) -> None:
        """Forget what is noted."""
        self._timed.clear()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let errors be those of this project, and the array module use this worker's stream."""
        with ExitStack() as stack:
            stack.enter_context(self.device.errors())
            stack.enter_context(self.device.current(self.stream))
            yield

    def launch(self, kernel: str, grid: Sequence[int], block: Sequence[int], *arguments: Any, shared_bytes: int = 0) -> None:
        """Put a kernel into the stream."""
        self.device.launch(kernel, grid, block, arguments, self.stream, shared_bytes)

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """Put a copy to the device into the stream."""
        return self.device.upload(array, self.stream)

    def download(self, array: DeviceArray) -> NDArray[Any]:
        """Return a copy for the host, when all before it is done."""
        return self.device.download(array, self.stream)
