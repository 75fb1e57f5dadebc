"""Plays, with NumPy, the part of CuPy that `backends.cupy_gpu.device.cuda` uses: everything is done at once, on the host.

It is strict where CUDA is silent: arrays know their device, and a kernel must be launched on it. `Fake.failures` are calls that
raise.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse

from tests.gpu import host_kernels

_current = threading.local()


class CUDARuntimeError(RuntimeError):
    """As CuPy's: it is known by its module."""


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


CUDARuntimeError.__module__ = "cupy_backends.cuda.api.runtime"
OutOfMemoryError.__module__ = "cupy.cuda.memory"


class Array(np.ndarray):  # type: ignore[type-arg]
    """An array in a device's memory."""

    number: int | None = None

    def __array_finalize__(self, other: Any) -> None:
        self.number = getattr(other, "number", None)

    @property
    def device(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(id=self.number)

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data, memset_async=self._memset)

    def set(self, array: np.ndarray, stream: Any = None) -> None:
        assert type(array) is np.ndarray
        assert array.flags.c_contiguous
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        np.copyto(self, array)

    def get(self, stream: Any = None) -> np.ndarray:
        return np.array(self)

    def _memset(self, value: int, size: int, stream: Any = None) -> None:
        assert isinstance(stream, Stream)
        ctypes.memset(self.ctypes.data, value, size)


class Stream:
    """A stream, whose work is done at once."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        assert non_blocking, "a blocking stream would wait for the default stream"
        self.number, self.ptr = current_device(), id(self)

    def __enter__(self) -> Stream:
        assert current_device() == self.number, "a stream of another device"
        _current.streams = [*getattr(_current, "streams", []), self]
        return self

    def __exit__(self, *error: object) -> None:
        _current.streams.pop()

    def record(self, event: Event) -> Event:
        assert current_device() == self.number
        return event

    def wait_event(self, event: Event) -> None:
        assert isinstance(event, Event)

    def synchronize(self) -> None:
        """Nothing is left to be done."""


class Event:
    """A point in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.timed = not disable_timing

    def synchronize(self) -> None:
        """It is over."""


class Device:
    """Makes a device current."""

    compute_capability = "90"

    def __init__(self, number: int) -> None:
        self.id = number

    def __enter__(self) -> Device:
        _current.devices = [*getattr(_current, "devices", [0]), self.id]
        return self

    def __exit__(self, *error: object) -> None:
        _current.devices.pop()


def current_device() -> int:
    return int(getattr(_current, "devices", [0])[-1])


class Fake:
    """The module.

    Parameters
    ----------
    n_devices : int
    free : int
        Bytes that are free on each device.
    """

    __version__ = "0.0"

    def __init__(self, n_devices: int = 1, free: int = 2**30) -> None:
        self.n_devices, self.free = n_devices, free
        self.failures: dict[str, Exception] = {}
        self.registered: dict[int, int] = {}
        self.launched: list[str] = []
        self._allocated: list[tuple[int, int, int]] = []
        runtime = {
            "getDeviceCount": lambda: self.n_devices,
            "memGetInfo": lambda: (self.free, 2 * self.free),
            "getDeviceProperties": lambda number: {"name": b"Fake GPU", "totalGlobalMem": 2 * self.free},
            "driverGetVersion": lambda: 13000,
            "runtimeGetVersion": lambda: 12090,
            "hostRegister": self._register,
            "hostUnregister": lambda pointer: self.registered.pop(pointer),
            "memcpyAsync": self._copy,
            "memcpyPeerAsync": self._copy_peer,
        }
        checked = {name: self._checked(name, call) for name, call in runtime.items()}
        self.cuda = SimpleNamespace(
            Device=Device, Stream=Stream, Event=Event, runtime=SimpleNamespace(**checked),
            get_elapsed_time=lambda begin, end: 2.0 * (begin.timed and end.timed),
        )  # fmt: skip
        self.sparse: Any = scipy.sparse

    def __getattr__(self, name: str) -> Any:
        """An attribute of NumPy, as an array module has it."""
        return getattr(np, name)

    def empty(self, shape: int, dtype: Any) -> Array:
        self._may_fail("empty")
        array = np.empty(shape, dtype).view(Array)
        array.number = current_device()
        self._allocated.append((array.ctypes.data, array.ctypes.data + max(array.nbytes, 1), array.number))
        return array

    def _owner(self, pointer: int) -> int:
        """The device whose memory a pointer points into; what was allocated last counts."""
        return next(number for begin, end, number in reversed(self._allocated) if begin <= pointer < end)

    def RawModule(self, code: str, options: tuple[str, ...]) -> Any:  # noqa: N802
        assert "--fmad=false" in options
        return SimpleNamespace(get_function=self._function)

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_bytes=lambda: 0, total_bytes=lambda: 7, free_all_blocks=lambda: None)

    def _function(self, name: str) -> Callable[..., None]:
        def kernel(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], shared_mem: int = 0) -> None:
            self._may_fail(name)
            assert getattr(_current, "streams", []), "a kernel in the default stream"
            given = []
            for argument in arguments:
                assert not isinstance(argument, np.ndarray) or argument.number in (None, current_device()), name
                given.append(None if isinstance(argument, np.uint64) and argument == 0 else argument)
            self.launched.append(name)
            host_kernels.call(name, grid, block, given, shared_mem)

        return kernel

    def _checked(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            self._may_fail(name)
            return call(*arguments)

        return checked

    def _may_fail(self, name: str) -> None:
        if name in self.failures:
            raise self.failures[name]

    def _register(self, pointer: int, size: int, flags: int) -> None:
        assert flags == 1, "pinned for all devices"
        self.registered[pointer] = size

    def _copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        assert kind == 1, "from the host"
        assert any(begin <= source and source + size <= begin + n for begin, n in self.registered.items()), "not pinned"
        ctypes.memmove(target, source, size)

    def _copy_peer(self, target: int, to: int, source: int, of: int, size: int, stream: int) -> None:
        assert to != of
        assert (self._owner(target), self._owner(source)) == (to, of), "memory of another device"
        ctypes.memmove(target, source, size)
