"""Knows which layers are the same, before they are packed and by their bytes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.network import AnyLayer
from sparsednn.system.memory import require

ALIGNMENT = 256
"""Parts of the bytes start at multiples of this, as device memory does."""

WAY_OUT = "use fewer neurons or layers, or columns=merge"


class KnownLayers:
    """Layers that a network has several times, which are packed once.

    Parameters
    ----------
    layers : sequence of layers
        As the network has them; none where they are packed in another form.

    Attributes
    ----------
    packed : dict
        What has been packed, by `key`, the places of its outputs, and what is known of their activations.
    """

    def __init__(self, layers: Sequence[AnyLayer]) -> None:
        self._prints = [_fingerprint(layer) for layer in layers]
        counts = Counter(self._prints)
        self._repeated = {one for one, n in counts.items() if n > 1}
        self.packed: dict[tuple[bytes, bytes], tuple[Any, NDArray[np.int64] | None, Any]] = {}

    def key(self, number: int, rank: NDArray[np.int64] | None) -> tuple[bytes, bytes] | None:
        """Return what layer `number` is known by behind outputs in some order; None if it is there once."""
        if not self._prints or self._prints[number] not in self._repeated:
            return None
        return self._prints[number], b"" if rank is None else hashlib.blake2b(rank.data).digest()


def _fingerprint(layer: AnyLayer) -> bytes:
    digest = hashlib.sha256()
    layer.add_to(digest)
    return digest.digest()


class Blobs:
    """Bytes of layers, each different one once."""

    def __init__(self) -> None:
        self._blobs: list[NDArray[np.uint8]] = []
        self._known: dict[bytes, int] = {}
        self._size = 0

    def add(self, arrays: dict[str, NDArray[Any]]) -> tuple[int, int, dict[str, int]]:
        """Add a layer's arrays; return where they are, how many bytes they are, and where each starts."""
        starts = np.concatenate([[0], np.cumsum([_aligned(array.nbytes) for array in arrays.values()])])
        blob = np.zeros(int(starts[-1]), np.uint8)
        for start, array in zip(starts, arrays.values(), strict=False):
            blob[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        parts = dict(zip(arrays, map(int, starts), strict=False))
        digest = hashlib.blake2b(blob.data).digest()
        if digest not in self._known:
            require(2 * len(blob), "the network in the GPU kernels' layout", WAY_OUT)
            self._known[digest] = self._size
            self._blobs.append(blob)
            self._size += len(blob)
        return self._known[digest], len(blob), parts

    def store(self) -> NDArray[np.uint8]:
        """Return all bytes."""
        require(self._size, "the network in the GPU kernels' layout", WAY_OUT)
        return np.concatenate([np.zeros(0, np.uint8), *self._blobs])


def _aligned(n_bytes: int) -> int:
    return -(-max(n_bytes, 1) // ALIGNMENT) * ALIGNMENT
