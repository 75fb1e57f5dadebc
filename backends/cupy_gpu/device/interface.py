"""Declares what this backend needs of a device; CuPy implements it, and in tests NumPy with a C++ compiler.

Work is put into streams and carried out later, in the order of its stream; events order streams among each other. What a call
takes from host memory is free again when it returns, but for `Device.copy_in`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

DeviceArray = Any
"""An array in a device's memory, of the device's array module."""


class Event(Protocol):
    """A point in a stream."""

    def synchronize(self) -> None:
        """Wait, on the host, until the stream has come to it."""


class Stream(Protocol):
    """A queue of work."""

    def record(self, again: Any = None) -> Event:
        """Return an event behind all that is in the queue: a new one, or one that nobody waits for any more."""

    def wait(self, event: Any) -> None:
        """Let nothing that comes later begin before the event."""

    def synchronize(self) -> None:
        """Wait, on the host, until all is done."""


class Device(Protocol):
    """One device."""

    number: int
    xp: Any
    """The array module: numpy or cupy."""

    sparse: Any
    """The module of sparse matrices: scipy.sparse or cupyx.scipy.sparse."""

    def new_stream(self) -> Any:
        """Return a stream of its own."""

    def current(self, stream: Any) -> AbstractContextManager[Any]:
        """Make device and stream those that the array module uses in this thread."""

    def errors(self) -> AbstractContextManager[Any]:
        """Turn the library's errors into `DeviceError` and MemoryError that say what to do."""

    def empty(self, n: int, dtype: Any) -> DeviceArray:
        """Return `n` uninitialised entries. When they are given back, only work of the stream that was current when they were
        taken may still need them."""

    def upload(self, array: NDArray[Any], stream: Any) -> DeviceArray:
        """Return a copy of an array of the host."""

    def download(self, array: DeviceArray, stream: Any) -> NDArray[Any]:
        """Return a copy for the host, when it is there."""

    def zero(self, array: DeviceArray, stream: Any) -> None:
        """Fill with zeros."""

    def pin(self, array: NDArray[np.uint8]) -> AbstractContextManager[bool]:
        """Lock memory of the host, so that it can be copied from while kernels run; until the context is left.

        The context is whether it is locked: some systems do not let it be, and copies from there are slower then.
        """

    def copy_in(self, array: NDArray[np.uint8], target: DeviceArray, stream: Any) -> None:
        """Copy from memory that has been given to `pin`, which has to stay as it is until the stream has done it."""

    def copy_across(self, source: DeviceArray, target: DeviceArray, stream: Any) -> None:
        """Copy from the memory of this or another device to this or another one's."""

    def launch(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: Any,
        shared_bytes: int = 0,
    ) -> None:  # fmt: skip
        """Run a kernel of `source.source` with arrays, None (no array) and NumPy scalars."""

    def prepare(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], shared_bytes: int = 0
    ) -> Callable[[], None]:
        """Return what runs it, as often as it is called, in the stream that is `current` then: one call to the library."""

    def range(self, name: str) -> AbstractContextManager[None]:
        """Give what is put into streams in the context a name that profilers show."""

    def seconds_between(self, begin: Any, end: Any) -> float:
        """Return the time from one event to the other, both of which are over."""

    def free_bytes(self) -> int:
        """Return how much of the device's memory may still be taken."""

    def release_unused(self) -> None:
        """Give back what the library keeps for itself of this process's memory on the device."""

    def used_bytes(self) -> int:
        """Return how much of the device's memory this process holds."""

    def describe(self) -> dict[str, Any]:
        """Return what a record should say of the device."""

    def facts(self) -> dict[str, Any]:
        """Return what the device is: multiprocessors, clocks, caches; see `backends.cupy_gpu.device.facts`."""

    def kernel_facts(self, kernel: str) -> dict[str, int]:
        """Return what a kernel of `source.source` takes as it was loaded: registers, bytes of shared and local memory."""
