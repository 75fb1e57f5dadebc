"""Gives a worker its stream of a device, its memory for activations, and its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import Device, DeviceArray, Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.cupy_gpu.layout.residency import Layers


KERNEL, UPLOAD = "kernel", "upload"
"""What is timed: layers, of a team those of its leader; and copies of inputs to the device."""


MOST_LAUNCHES = 4096
"""Prepared launches that a lane keeps."""


class Launch(NamedTuple):
    """A layer on a block of some size in one of a lane's arrays, with all that its kernel takes.

    Attributes
    ----------
    made
        The layer's bytes on the device.
    put : callable
        Puts the kernel into the lane's stream, which is current.
    y : array
        Where the result will be.
    n_terms : int
        Multiply-adds of an instance.
    """

    made: DeviceArray
    put: Callable[[], None]
    y: DeviceArray
    n_terms: int


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
        self._n_floats = 0
        self._launches: dict[tuple[Any, ...], Launch] = {}
        self._spare: list[Event] = []
        self._seconds: dict[str, float] = {}
        self._timed: dict[str, list[tuple[Event, Event]]] = {}

    def buffers(self, n_floats: int) -> list[DeviceArray]:
        """Return two arrays of at least `n_floats` floats: the same as before, while these are large enough."""
        if not self._buffers or self._n_floats < n_floats:
            self._launches.clear()
            self._buffers = []
            self._buffers, self._n_floats = [self.device.empty(n_floats, np.float32) for _ in range(2)], n_floats
        return self._buffers

    def prepared(self, key: tuple[Any, ...], made: DeviceArray, prepare: Callable[[], Launch]) -> Launch:
        """Return a launch that was prepared before for the same layer's bytes and this lane's arrays, or prepare it."""
        found = self._launches.get(key)
        if found is None or found.made is not made:  # the bytes of a layer that was copied anew may be in another place
            if len(self._launches) >= MOST_LAUNCHES:
                self._launches.clear()
            found = self._launches[key] = prepare()
        return found

    def record(self) -> Event:
        """Return an event behind all that is in the stream, to be given to `release`."""
        event: Event = self.stream.record(self._spare.pop() if self._spare else None)
        return event

    def release(self, *events: Event) -> None:
        """Take back events that nobody waits for any more."""
        self._spare += events

    def note(self, what: str, begin: Event, end: Event) -> None:
        """Note what the device took from one event to another, which are over, under a name; and take them back."""
        self._seconds[what] = self._seconds.get(what, 0.0) + self.device.seconds_between(begin, end)
        self.release(begin, end)

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Note when the device begins and ends with what is put into the stream in the context."""
        begin = self.stream.record()
        yield
        self._timed.setdefault(what, []).append((begin, self.stream.record()))

    def seconds(self, what: str) -> float:
        """Return how long the device took for all that is noted under a name, which must be done by now."""
        timed = sum(self.device.seconds_between(*events) for events in self._timed.get(what, []))
        return self._seconds.get(what, 0.0) + timed

    def forget_times(self) -> None:
        """Forget what is noted."""
        self._timed.clear()
        self._seconds.clear()

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
