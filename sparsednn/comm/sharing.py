"""Pickles the values that a node's processes share, larger arrays apart (pickle protocol 5), and finds room for the arrays."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.system import memory
from sparsednn.system.memory import GB

ALIGNMENT = 64
SMALL_BYTES = 256
"""Arrays smaller than this go with the rest."""

LEFT_TO_MPI_BYTES = 8 * 2**20
"""Shared memory that is left for messages: MPI libraries take some when processes first talk to each other."""


class PickledPlan:
    """A value, pickled.

    Attributes
    ----------
    data : bytes
        All of it but the arrays.
    arrays : list of uint8 arrays
        Contents of its larger arrays, without a copy.
    """

    def __init__(self, value: Any) -> None:
        self.arrays: list[NDArray[np.uint8]] = []
        stream = io.BytesIO()
        _Pickler(stream, protocol=5, buffer_callback=self._stays_inside).dump(value)
        self.data = stream.getvalue()

    def _stays_inside(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < SMALL_BYTES:
            return True
        self.arrays.append(np.frombuffer(raw, np.uint8))
        return False

    @property
    def sizes(self) -> list[int]:
        """Bytes of each array."""
        return [len(array) for array in self.arrays]

    @property
    def n_bytes(self) -> int:
        """The bytes of all arrays, side by side."""
        return starts_of(self.sizes)[-1]


class _Pickler(pickle.Pickler):
    """Leaves arrays out; one that repeats a single value stays as small as it is."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray) and obj.size > 1 and not any(obj.strides):
            return np.broadcast_to, (obj[(slice(0, 1),) * obj.ndim].copy(), obj.shape)
        return NotImplemented


def starts_of(sizes: Iterable[int]) -> list[int]:
    """Return where arrays start that lie side by side, each aligned, and where the last one ends."""
    return list(accumulate((-(-size // ALIGNMENT) * ALIGNMENT for size in sizes), initial=0))


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """Where arrays go: into shared memory or, as copies, into each process; or why they can be in neither."""

    shared: bool
    refusal: str | None = None


def place(n_bytes: int, n_processes: int) -> ArrayPlace:
    """Find room for what the processes of a node share, on the first of them, which has it in memory of its own.

    Where shared memory has no room, as in a container, each process gets a copy: results are the same.
    """
    folder, room = memory.shared_memory(), memory.shared_memory_left()
    shared = n_bytes + ALIGNMENT + LEFT_TO_MPI_BYTES <= room
    needed, available = n_bytes if shared else (n_processes - 1) * n_bytes, memory.available_bytes()
    if needed + memory.KEEP_FREE_BYTES <= available:
        return ArrayPlace(shared)
    if shared:
        way_out = "use fewer layers, or one process"
        return ArrayPlace(shared, memory.shortage(needed, available, "the network shared by a node's processes", way_out))
    what = (
        f"{folder} has room for {room / GB:.2f} GB, too little for the network shared by {n_processes} processes "
        f"({n_bytes / GB:.2f} GB), and a copy of it in each (share_network=false)"
    )
    way_out = f"make {folder} larger (docker run --shm-size=SIZE), or use fewer processes or layers"
    return ArrayPlace(shared, memory.shortage(needed, available, what, way_out))
