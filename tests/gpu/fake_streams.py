"""Arrays, streams, events and devices of the stand-in for CuPy."""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from types import FrameType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

CURRENT = threading.local()


def asked_by_the_backend() -> bool:
    """Whether the backend makes the present call, and not a library that it has called."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "numpy":
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("backends.")


class Array(np.ndarray):  # type: ignore[type-arg]
    """An array in a device's memory."""

    log: ClassVar[list[str]]
    number: int | None = None

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        """CuPy compiles a kernel for each of them when it first comes up."""
        if asked_by_the_backend():
            self.log.append(f"{ufunc.__name__}.{method} on {self.number}")
        given = [one.view(np.ndarray) if isinstance(one, Array) else one for one in inputs]
        if out is not None:
            options["out"] = tuple(one.view(np.ndarray) if isinstance(one, Array) else one for one in out)
        found = getattr(ufunc, method)(*given, **options)
        if out is not None:
            return out[0]
        if isinstance(found, np.ndarray):
            found = found.view(Array)
            found.number = self.number
        return found

    @classmethod
    def of(cls, array: np.ndarray) -> Array:
        """An array, in the memory of the current device."""
        found = array.view(cls)
        found.number = current_device()
        return found

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
        assert isinstance(stream, Stream)
        stream.sources.append(weakref.ref(array))

    def get(self, stream: Any = None) -> np.ndarray:
        return np.array(self)

    def _memset(self, value: int, size: int, stream: Any = None) -> None:
        assert isinstance(stream, Stream)
        ctypes.memset(self.ctypes.data, value, size)


class Csr(scipy.sparse.csr_matrix):  # type: ignore[misc]
    """A csr_matrix, whose products are in the memory of the current device."""

    def __matmul__(self, other: Any) -> Any:
        one = plain(self)
        if not scipy.sparse.issparse(other):
            return Array.of(np.asfortranarray(one @ np.asarray(other)))
        found = Csr(one @ plain(other))
        found.data, found.indices, found.indptr = (Array.of(array) for array in (found.data, found.indices, found.indptr))
        return found

    def toarray(self, *about: Any, **options: Any) -> Any:
        return Array.of(plain(self).toarray())


def plain(matrix: Csr) -> scipy.sparse.csr_matrix:
    """The matrix of scipy."""
    arrays = tuple(np.asarray(array) for array in (matrix.data, matrix.indices, matrix.indptr))
    return scipy.sparse.csr_matrix(arrays, shape=matrix.shape)


class Stream:
    """A stream, whose work is done at once."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        assert non_blocking, "a blocking stream would wait for the default stream"
        self.number, self.ptr = current_device(), id(self)
        self.sources: list[weakref.ref[Any]] = []
        Array.log.append(f"a stream on {self.number}")

    def __enter__(self) -> Stream:
        assert current_device() == self.number, "a stream of another device"
        CURRENT.streams = [*getattr(CURRENT, "streams", []), self]
        return self

    def __exit__(self, *error: object) -> None:
        CURRENT.streams.pop()

    def record(self, event: Event) -> Event:
        assert current_device() == self.number
        return event

    def wait_event(self, event: Event) -> None:
        assert isinstance(event, Event)

    def synchronize(self) -> None:
        """Nothing is left to be done; where the host's memory is the device's, copies from there may be read as late as now."""
        assert all(source() is not None for source in self.sources), "memory of the host is gone before it was copied"
        self.sources.clear()


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
        CURRENT.devices = [*getattr(CURRENT, "devices", [0]), self.id]
        return self

    def __exit__(self, *error: object) -> None:
        CURRENT.devices.pop()


def current_device() -> int:
    return int(getattr(CURRENT, "devices", [0])[-1])


def has_a_stream() -> bool:
    """Whether this thread has chosen a stream."""
    return bool(getattr(CURRENT, "streams", []))
