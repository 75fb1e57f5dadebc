"""Stores the arrays of all layers one after the other, equal ones once, in memory or in a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsednn.system.memory import require
from sparsednn.system.parallel import in_threads

NOT_STORED = -1
DIGEST_BYTES, SAMPLES = 16, 64
CHECK_BYTES = 16 * 2**20
"""The system is asked for its free memory each time that so much more is stored: asking takes half a millisecond."""

PARTS_AT_ONCE = 64
"""Arrays that a thread joins at a time."""

WAY_OUT = "run fewer layers or neurons, or stream them (residency=stream)"


class Store:
    """Flat storage for one array of each layer, in memory."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.size = 0
        self._parts: list[NDArray[Any]] = []
        self._part_at: dict[int, NDArray[Any]] = {}
        self._unchecked = 0
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        self._known: dict[tuple[Any, ...], list[int]] = {}
        """Where arrays start that have a size, a signature, and bytes beside them."""

    def add(self, part: NDArray[Any] | None, beside: bytes = b"") -> None:
        """Add a layer's array, unless there is an equal one with the same bytes `beside` it; None: the layer has none.

        Those that may be equal, by their sum and by some of their entries, are compared.
        """
        if part is None:
            self._offsets.append(NOT_STORED)
            self._lengths.append(0)
            return
        flat = np.ascontiguousarray(part, self.dtype)
        about = hashlib.blake2b(beside, digest_size=DIGEST_BYTES).digest() if beside else b""
        alike = self._known.setdefault((flat.size, *_signature(flat), about), [])
        offset = next((at for at in alike if np.array_equal(_bytes(self._stored(at, flat.size)), _bytes(flat))), None)
        if offset is None:
            offset = self.size
            alike.append(offset)
            self.append(flat)
        self._offsets.append(offset)
        self._lengths.append(flat.size)

    def _stored(self, offset: int, size: int) -> NDArray[Any]:
        """Return an array of that size that was stored from an offset on."""
        return self._part_at[offset][:size]

    def append(self, part: NDArray[Any]) -> None:
        """Add an array, whether or not it is there already."""
        flat = (
            part if part.dtype == self.dtype and part.base is None and part.flags.c_contiguous else np.array(part, self.dtype)
        )
        self._unchecked += flat.nbytes
        if self._unchecked >= CHECK_BYTES or not self._parts:
            require(self._unchecked, f"packing {flat.size:,} more entries of a layer", WAY_OUT)
            self._unchecked = 0
        self._parts.append(flat)
        self._part_at[self.size] = flat
        self.size += flat.size

    def array(self) -> NDArray[Any]:
        """Return everything as one array."""
        require(self.size * self.dtype.itemsize, f"packing {self.size:,} entries", WAY_OUT)
        parts, self._parts, self._part_at = self._parts, [], {}
        return _joined(parts, self.size, self.dtype)

    def offsets(self) -> NDArray[np.int64]:
        """Return where each layer's array starts; -1 where it has none."""
        return np.array(self._offsets, np.int64)

    def lengths(self) -> NDArray[np.int64]:
        """Return how many entries each layer has."""
        return np.array(self._lengths, np.int64)


def _joined(parts: list[NDArray[Any]], size: int, dtype: Any) -> NDArray[Any]:
    """Join arrays, many at a time in each thread: what is written for the first time waits for the system's pages."""
    if size * np.dtype(dtype).itemsize < CHECK_BYTES:
        return np.concatenate(parts) if parts else np.empty(0, dtype)
    whole, ends = np.empty(size, dtype), np.cumsum([0, *map(len, parts)])
    n_shares = -(-len(parts) // PARTS_AT_ONCE)
    bounds = [len(parts) * share // n_shares for share in range(n_shares + 1)]

    def join(share: int) -> None:
        first, last = bounds[share], bounds[share + 1]
        np.concatenate(parts[first:last], out=whole[ends[first] : ends[last]])

    for _ in in_threads(join, range(n_shares)):
        pass
    return whole


class StoreMaker(Protocol):
    """Makes the store of an array, by its name."""

    def __call__(self, name: str, dtype: Any) -> Store:
        """Return an empty store of a dtype."""


def memory_store(name: str, dtype: Any) -> Store:
    """Return a store in memory."""
    return Store(dtype)


class FileStore(Store):
    """The same in a file, which is mapped into memory once it is complete."""

    def __init__(self, dtype: Any, path: Path) -> None:
        super().__init__(dtype)
        self._path = path
        self._file = path.open("wb")

    def append(self, part: NDArray[Any]) -> None:
        """Write an array to the end of the file."""
        flat = np.ascontiguousarray(part, self.dtype)
        self._file.write(flat.data)
        self.size += flat.size

    def _stored(self, offset: int, size: int) -> NDArray[Any]:
        """Read what was written."""
        self._file.flush()
        return np.fromfile(self._path, self.dtype, size, offset=offset * self.dtype.itemsize)

    def array(self) -> NDArray[Any]:
        """Return the file as an array."""
        self.close()
        return mapped(self._path, self.dtype)

    def close(self) -> None:
        """Write what is left, and let nothing be added any more."""
        self._file.close()


def _bytes(flat: NDArray[Any]) -> NDArray[np.uint8]:
    return flat.view(np.uint8)


def _signature(flat: NDArray[Any]) -> tuple[int, bytes]:
    """Return the sum of an array's bits, as numbers of 64 bits, and some of these: what differs here need not be compared."""
    words = _bytes(flat)[: flat.nbytes // 8 * 8].view(np.uint64)
    return int(words.sum()), words[:: max(len(words) // SAMPLES, 1)].tobytes()


def mapped(path: Path, dtype: Any) -> NDArray[Any]:
    """Return a file as an array that is read when it is used; not to be written to, though kernels are compiled for such."""
    if path.stat().st_size == 0:  # which no system maps
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="c")
