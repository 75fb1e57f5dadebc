"""Arrays of all layers, one after the other; what several layers have in common is stored once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.memory import require

NOT_STORED = -1
DIGEST_BYTES = 16


class Store:
    """Flat storage for one array of each layer."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._parts: list[NDArray[Any]] = []
        self._offsets: list[int] = []
        self._known: dict[bytes, int] = {}
        self._size = 0

    def add(self, part: NDArray[Any] | None, beside: bytes = b"") -> None:
        """Add a layer's array, unless there is an equal one with the same bytes `beside` it; None: the layer has none."""
        if part is None:
            self._offsets.append(NOT_STORED)
            return
        flat = np.ascontiguousarray(part, self.dtype)
        digest = hashlib.blake2b(beside, digest_size=DIGEST_BYTES)
        digest.update(flat.data)
        found = digest.digest()
        if found not in self._known:
            self._known[found] = self._size
            self.append(flat)
        self._offsets.append(self._known[found])

    def append(self, part: NDArray[Any]) -> None:
        """Add an array, whether or not it is there already."""
        flat = np.array(part, self.dtype)
        require(flat.nbytes, f"packing {flat.size:,} more entries of a layer", "run fewer layers or neurons")
        self._parts.append(flat)
        self._size += flat.size

    def array(self) -> NDArray[Any]:
        """Return everything as one array."""
        require(self._size * self.dtype.itemsize, f"packing {self._size:,} entries", "run fewer layers or neurons")
        parts, self._parts = self._parts, []
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    def offsets(self) -> NDArray[np.int64]:
        """Return where each layer's array starts; -1 where it has none."""
        return np.array(self._offsets, np.int64)
