"""A device that is none: NumPy and scipy.sparse for the array modules, and kernels compiled for the host.

It can be lazy: then work waits in its stream until somebody waits for it, and streams know of each other only what events tell
them. That is the latest that a device may do it. Some streams may be early instead: what is put into them is done at once,
unless they were told to wait for an event that is not over. Who relies on more order than events give finds wrong results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sparsednn.backend import DeviceError
from tests.gpu import host_kernels

_LOCK = threading.RLock()
PINNED: list[NDArray[Any]] = []
"""Memory of the host that is pinned: for all devices."""


class OnDevice(np.ndarray):  # type: ignore[type-arg]
    """An array that knows on which device it is."""

    number: int | None = None

    def __array_finalize__(self, other: Any) -> None:
        self.number = getattr(other, "number", None)


class HostEvent:
    """A place in a stream."""

    def __init__(self, stream: HostStream, position: int) -> None:
        self.stream, self.position = stream, position

    def synchronize(self) -> None:
        self.stream.flush(self.position)

    def is_over(self) -> bool:
        return self.stream.is_at(self.position)


class HostStream:
    """Work in its order: done at once, or, if its device is lazy, as late as it may be, or as early."""

    def __init__(self, device: HostDevice, name: str, early: bool) -> None:
        self.device, self.name, self.early = device, name, early
        self._queue: list[tuple[str, Callable[[], None], HostEvent | None]] = []
        self._n_done = 0
        self._busy = False

    def put(self, what: str, work: Callable[[], None], after: HostEvent | None = None) -> None:
        with _LOCK if self.device.lazy else _nothing():
            self.device.log.append((self.name, "put", what))
            if self.device.lazy:
                self._queue.append((what, work, after))
                self.hurry()
            else:
                work()

    def record(self) -> HostEvent:
        with _LOCK:
            return HostEvent(self, self._n_done + len(self._queue))

    def wait(self, event: HostEvent) -> None:
        self.put(f"wait for {event.stream.name}", event.synchronize, event)

    def synchronize(self) -> None:
        self.flush(None)

    def flush(self, position: int | None) -> None:
        """Do what is in the queue, up to a position."""
        with _LOCK:
            while self._queue and not self.is_at(position):
                assert not self._busy, f"stream {self.name} waits for itself"
                self._do_first()
            for stream in self.device.streams:
                stream.hurry()

    def hurry(self) -> None:
        """Do what may be done already, if it is an early stream."""
        while self.early and not self._busy and self._queue and (self._queue[0][2] is None or self._queue[0][2].is_over()):
            self._do_first()

    def is_at(self, position: int | None) -> bool:
        return position is not None and self._n_done >= position

    def _do_first(self) -> None:
        what, work, _ = self._queue[0]
        self._busy = True
        work()
        self._busy = False
        self._queue.pop(0)
        self._n_done += 1
        self.device.log.append((self.name, "did", what))


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class HostDevice:
    """One device on the host.

    Parameters
    ----------
    number : int
    lazy : bool
    early : callable
        Says by their numbers, from 1 in the order in which they are made, which of a lazy device's streams are early.
    free : int
        Bytes of its memory.
    """

    def __init__(
        self, number: int = 0, lazy: bool = False, free: int = 2**30, early: Callable[[int], bool] = lambda n: False
    ) -> None:
        self.number, self.lazy, self.free, self.early = number, lazy, free, early
        self.xp, self.sparse = np, scipy.sparse
        self.log: list[tuple[str, str, str]] = []
        self.fails: str | None = None
        self.streams: list[HostStream] = []

    def new_stream(self) -> HostStream:
        number = len(self.streams) + 1
        self.streams.append(HostStream(self, f"{self.number}.{number}", self.lazy and self.early(number)))
        return self.streams[-1]

    @contextmanager
    def current(self, stream: HostStream) -> Iterator[None]:
        yield

    @contextmanager
    def errors(self) -> Iterator[None]:
        if self.fails is not None:
            raise DeviceError(self.fails)
        yield

    def empty(self, n: int, dtype: Any) -> OnDevice:
        array = np.empty(n, dtype).view(OnDevice)
        array.view(np.uint8)[:] = 0xFF  # not a number: what is read must have been written
        array.number = self.number
        return array

    def upload(self, array: NDArray[Any], stream: HostStream) -> OnDevice:
        taken, target = array.copy(), self.empty(array.size, array.dtype)
        stream.put("upload", lambda: np.copyto(target, taken.reshape(-1)))
        return target.reshape(array.shape)

    def download(self, array: NDArray[Any], stream: HostStream) -> NDArray[Any]:
        stream.synchronize()
        self.log.append((stream.name, "did", "download"))
        return np.array(array)

    def zero(self, array: OnDevice, stream: HostStream) -> None:
        stream.put("zero", lambda: array.fill(0))

    @contextmanager
    def pin(self, array: NDArray[np.uint8]) -> Iterator[None]:
        PINNED.append(array)
        yield
        PINNED.pop([pinned is array for pinned in PINNED].index(True))

    def copy_in(self, array: NDArray[np.uint8], target: OnDevice, stream: HostStream) -> None:
        assert any(np.shares_memory(array, pinned) for pinned in PINNED) or not array.size
        assert target.number == self.number
        stream.put(f"copy in {array.nbytes}", lambda: np.copyto(target, array))

    def copy_across(self, source: OnDevice, target: OnDevice, stream: HostStream) -> None:
        assert source.shape == target.shape
        assert source.number != target.number
        stream.put(f"copy {source.number} to {target.number}", lambda: np.copyto(target, source))

    def launch(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: HostStream,
        shared_bytes: int = 0,
    ) -> None:  # fmt: skip
        assert all(0 < size <= limit for size, limit in zip(grid, (2**31 - 1, 65535, 65535), strict=False)), (kernel, grid)
        assert np.prod(block) <= 1024
        assert shared_bytes <= 48 * 2**10
        assert stream.device is self, "a kernel is put into a stream of its own device"
        for argument in arguments:
            assert getattr(argument, "number", self.number) in (None, self.number), f"{kernel}: an array of another device"
            assert not kernel.startswith("layer") or not isinstance(argument, np.ndarray) or isinstance(argument, OnDevice)
        stream.put(kernel, lambda: host_kernels.call(kernel, grid, block, arguments, shared_bytes))

    def seconds_between(self, begin: HostEvent, end: HostEvent) -> float:
        return 1e-6 * (end.position - begin.position)

    def free_bytes(self) -> int:
        return self.free

    def release_unused(self) -> None:
        """Nothing is kept."""

    def used_bytes(self) -> int:
        return 2**20

    def describe(self) -> dict[str, Any]:
        return {"name": "host", "number": self.number}
