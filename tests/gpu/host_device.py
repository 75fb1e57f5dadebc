"""A device that is none: NumPy and scipy.sparse for the array modules, and kernels compiled for the host.

It can be lazy: then work waits in its stream until somebody waits for it, and streams know of each other only what events tell
them. That is the latest that a device may do it; who relies on more order than events give finds wrong results.
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


class HostStream:
    """Work in its order; done at once, or, if lazy, when it is waited for."""

    def __init__(self, device: HostDevice, name: str) -> None:
        self.device, self.name = device, name
        self._queue: list[tuple[str, Callable[[], None]]] = []
        self._n_done = 0

    def put(self, what: str, work: Callable[[], None]) -> None:
        with _LOCK if self.device.lazy else _nothing():
            self.device.log.append((self.name, "put", what))
            if self.device.lazy:
                self._queue.append((what, work))
            else:
                work()

    def record(self) -> HostEvent:
        with _LOCK:
            return HostEvent(self, self._n_done + len(self._queue))

    def wait(self, event: HostEvent) -> None:
        self.put(f"wait for {event.stream.name}", event.synchronize)

    def synchronize(self) -> None:
        self.flush(None)

    def flush(self, position: int | None) -> None:
        with _LOCK:
            while self._queue and (position is None or self._n_done < position):
                what, work = self._queue.pop(0)
                self._n_done += 1
                work()
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
    free : int
        Bytes of its memory.
    """

    def __init__(self, number: int = 0, lazy: bool = False, free: int = 2**30) -> None:
        self.number, self.lazy, self.free = number, lazy, free
        self.xp, self.sparse = np, scipy.sparse
        self.log: list[tuple[str, str, str]] = []
        self.fails: str | None = None
        self._n_streams = 0

    def new_stream(self) -> HostStream:
        self._n_streams += 1
        return HostStream(self, f"{self.number}.{self._n_streams}")

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

    def describe(self) -> dict[str, Any]:
        return {"name": "host", "number": self.number}
