"""A device that is none: NumPy and scipy.sparse for the array modules, and kernels compiled for the host.

It can be lazy: then work waits in its stream until somebody waits for it, and streams know of each other only what events tell
them. That is the latest that a device may do it. Some streams may be early instead: what is put into them is done at once,
unless they were told to wait for an event that is not over. Who relies on more order than events give finds wrong results.

Who gives memory back, of a lazy device or pinned memory of the host, while a stream still needs it, finds it in `FAULTS`. As
with CuPy, whose memory goes to the next who asks for some in the same stream, the one in which it was taken may still need it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sparsednn.backend import DeviceError
from tests.gpu import host_kernels

_LOCK = threading.RLock()
_CURRENT = threading.local()
PINNED: list[NDArray[Any]] = []
"""Memory of the host that is pinned: for all devices."""

STREAMS: weakref.WeakSet[HostStream] = weakref.WeakSet()
"""All streams of lazy devices."""

FAULTS: list[str] = []
"""Memory that was given back too early; see `conftest`."""


class Memory:
    """Memory of a lazy device, and the stream that was current when it was taken."""

    def __init__(self) -> None:
        self.stream: HostStream | None = getattr(_CURRENT, "streams", [None])[-1]

    def given_back(self) -> None:
        with _LOCK:
            for stream in list(STREAMS):
                if stream is not self.stream:
                    FAULTS.extend(f"{what}: its memory is given back before" for what in stream.needs(self))


class OnDevice(np.ndarray):  # type: ignore[type-arg]
    """An array that knows on which device it is."""

    number: int | None = None
    memory: Memory | None = None

    def __array_finalize__(self, other: Any) -> None:
        self.number, self.memory = getattr(other, "number", None), getattr(other, "memory", None)


def plain(array: Any) -> Any:
    """An array as work sees it, which does not keep its memory from being given back."""
    if not isinstance(array, OnDevice):
        return array
    root: Any = array
    while root.base is not None:
        root = root.base
    offset = array.ctypes.data - root.ctypes.data if array.size else 0
    return np.ndarray(array.shape, array.dtype, root, offset, array.strides)


class Work(NamedTuple):
    """Something to do: what it is, the work, the event that it waits for, and all memory that it needs."""

    what: str
    do: Callable[[], None]
    after: HostEvent | None
    needs: tuple[Any, ...]


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
        self._queue: list[Work] = []
        self._n_done = 0
        self._busy = False

    def put(self, what: str, work: Callable[[], None], *arrays: Any, after: HostEvent | None = None) -> None:
        """Put work into the stream that needs some arrays."""
        with _LOCK if self.device.lazy else _nothing():
            self.device.log.append((self.name, "put", what))
            if self.device.lazy:
                self._queue.append(Work(what, work, after, tuple(getattr(array, "memory", array) for array in arrays)))
                self.hurry()
            else:
                work()

    def record(self, again: Any = None) -> HostEvent:
        with _LOCK:
            return HostEvent(self, self._n_done + len(self._queue))

    def wait(self, event: HostEvent) -> None:
        self.put(f"wait for {event.stream.name}", event.synchronize, after=event)

    def needs(self, memory: Any) -> list[str]:
        """What in the queue needs some memory, of the device or of the host."""
        return [f"{work.what} in stream {self.name}" for work in self._queue if any(one is memory for one in work.needs)]

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
        while self.early and not self._busy and self._queue and self._may_begin(self._queue[0]):
            self._do_first()

    @staticmethod
    def _may_begin(work: Work) -> bool:
        return work.after is None or work.after.is_over()

    def is_at(self, position: int | None) -> bool:
        return position is not None and self._n_done >= position

    def _do_first(self) -> None:
        what, work = self._queue[0].what, self._queue[0].do
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
        if self.lazy:
            STREAMS.add(self.streams[-1])
        return self.streams[-1]

    @contextmanager
    def current(self, stream: HostStream) -> Iterator[None]:
        _CURRENT.streams = [*getattr(_CURRENT, "streams", [None]), stream]
        try:
            yield
        finally:
            _CURRENT.streams.pop()

    @contextmanager
    def errors(self) -> Iterator[None]:
        if self.fails is not None:
            raise DeviceError(self.fails)
        yield

    def empty(self, n: int, dtype: Any) -> OnDevice:
        array = np.empty(n, dtype).view(OnDevice)
        array.view(np.uint8)[:] = 0xFF  # not a number: what is read must have been written
        array.number = self.number
        if self.lazy:
            array.memory = Memory()
            weakref.finalize(array, array.memory.given_back)
        return array

    def upload(self, array: NDArray[Any], stream: HostStream) -> OnDevice:
        with self.current(stream):
            taken, target = array.copy(), self.empty(array.size, array.dtype)
        to = plain(target)
        stream.put("upload", lambda: np.copyto(to, taken.reshape(-1)), target)
        return target.reshape(array.shape)

    def download(self, array: NDArray[Any], stream: HostStream) -> NDArray[Any]:
        stream.synchronize()
        self.log.append((stream.name, "did", "download"))
        return np.array(array)

    def zero(self, array: OnDevice, stream: HostStream) -> None:
        zeroed = plain(array)
        stream.put("zero", lambda: zeroed.fill(0), array)

    @contextmanager
    def pin(self, array: NDArray[np.uint8]) -> Iterator[bool]:
        PINNED.append(array)
        yield True
        index = [pinned is array for pinned in PINNED].index(True)
        for stream in list(STREAMS):
            FAULTS.extend(f"{what}: unpinned before" for what in stream.needs(PINNED[index]))
        PINNED.pop(index)

    def copy_in(self, array: NDArray[np.uint8], target: OnDevice, stream: HostStream) -> None:
        pinned = [one for one in PINNED if np.may_share_memory(array, one)]
        assert pinned or not array.size
        assert target.number == self.number
        to = plain(target)
        stream.put(f"copy in {array.nbytes}", lambda: np.copyto(to, array), target, *pinned)

    def copy_across(self, source: OnDevice, target: OnDevice, stream: HostStream) -> None:
        assert source.shape == target.shape
        assert source.number != target.number
        of, to = plain(source), plain(target)
        stream.put(f"copy {source.number} to {target.number}", lambda: np.copyto(to, of), source, target)

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
        given = [plain(argument) for argument in arguments]
        stream.put(kernel, lambda: host_kernels.call(kernel, grid, block, given, shared_bytes), *arguments)

    def prepare(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], shared_bytes: int = 0
    ) -> Callable[[], None]:
        given = tuple(arguments)
        return lambda: self.launch(kernel, grid, block, given, _CURRENT.streams[-1], shared_bytes)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        yield

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

    def facts(self) -> dict[str, Any]:
        return {"multiprocessors": 2, "memory_clock_khz": 1_000_000, "memory_bus_bits": 64}

    def kernel_facts(self, kernel: str) -> dict[str, int]:
        assert kernel in host_kernels.library()[1]
        return {"registers": 56, "local_bytes": 0}
