"""Reads layers from files in a thread of its own, while workers compute the layers before them.

Kernels run nothing that is not ready: at a layer boundary the leader of a team shows which layer it comes to, and waits until
that is marked as ready. Layers are mapped memory, so one that is given up too early is read again and nothing else goes wrong.
"""

from __future__ import annotations

import mmap
import threading
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from backends.numba_cpu.layout.files import Segments
from backends.numba_cpu.layout.kernels.streaming import AT_LAYER, DAMAGED, NOT_READY, READY
from sparsednn.backend import LayerReads
from sparsednn.backend.shared_memory import LINE
from sparsednn.errors import StorageError

IDLE = -1
AHEAD_LAYERS = 3
"""The layer that a worker is at, and so many less one after it, are kept ready."""

KEEP_BYTES = 2**28
"""Layers that nobody is at or near are kept until this much has been read."""

POLL_S = 0.0002


class LayerReader:
    """Keeps the layers ready that workers are coming to.

    Attributes
    ----------
    ready : int64 array, shape (n_layers,)
        READY, NOT_READY or DAMAGED; kernels read it.
    at : int64 array, shape (n_workers, LINE)
        Column `AT_LAYER`: the layer that each worker is at, or IDLE; kernels write it.
    """

    def __init__(self, segments: Sequence[Segments], n_workers: int, path: Path, keep_bytes: int = KEEP_BYTES) -> None:
        self.segments, self.path, self.keep_bytes = segments, path, keep_bytes
        self.n_layers = len(segments[0].at)
        self.ready = np.zeros(self.n_layers, np.int64)
        self.at = np.full((n_workers, LINE), IDLE, np.int64)
        self.n_read, self.bytes_read, self.read_s = 0, 0, 0.0
        self._waited_s = np.zeros(n_workers)
        self._ever = np.zeros(self.n_layers, np.bool_)
        self._held: dict[int, int] = {}
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._wanted, self._stopped = threading.Event(), threading.Event()
        thread = threading.Thread(target=_read_on, args=(weakref.ref(self), self._wanted, self._stopped), daemon=True)
        thread.start()
        weakref.finalize(self, _stop, self._wanted, self._stopped)

    def begin(self, worker: int) -> None:
        """Read for a worker that is about to run a row group."""
        self.at[worker, AT_LAYER] = 0
        self._wanted.set()

    def end(self, worker: int, waited_s: float) -> None:
        """Note that a worker's row group is through, after `waited_s` seconds of waiting for layers."""
        self.at[worker, AT_LAYER] = IDLE
        self._waited_s[worker] += waited_s

    def reset(self) -> None:
        """Give up all layers, and count from 0 again; not while a worker is busy."""
        with self._lock:
            self.require_undamaged()
            self.n_read, self.bytes_read, self.read_s = 0, 0, 0.0
            self._waited_s[:], self._ever[:] = 0, False
            for layer in list(self._held):
                self._give_up(layer)

    def require_undamaged(self) -> None:
        """Raise OSError if a layer in the files is not what was packed, or could not be read."""
        if self._failure is not None:
            raise StorageError(f"{self.path}: layers could not be read ({self._failure}); delete the folder and run again")
        damaged = np.flatnonzero(self.ready == DAMAGED)
        if damaged.size:
            raise StorageError(
                f"{self.path}: layer {damaged[0] + 1} is damaged (its checksum differs); delete the folder and run again"
            )

    def record(self) -> LayerReads:
        """Say what was read, and how much of the reading went on while layers were computed."""
        waited_s = float(self._waited_s.sum())
        overlap = 1 - min(waited_s / self.read_s, 1) if self.read_s > 0 else None
        return LayerReads(
            layers=self.n_layers,
            different_layers_read=int(self._ever.sum()),
            layers_read=self.n_read,
            bytes_read=self.bytes_read,
            read_s=self.read_s,
            waited_s=waited_s,
            overlap=overlap,
        )

    def step(self) -> bool:
        """Read the layer that is needed first, or give up what is not needed; False if there was nothing to read."""
        with self._lock:
            return self._step()

    def fail(self, error: Exception) -> None:
        """Mark all layers that have not been read as damaged, so that no kernel waits for them."""
        with self._lock:
            self._failure = error
            self.ready[self.ready == NOT_READY] = DAMAGED

    def _step(self) -> bool:
        at = self.at[:, AT_LAYER].copy()
        near = [range(layer, min(layer + AHEAD_LAYERS, self.n_layers)) for layer in at if layer != IDLE]
        for distance in range(AHEAD_LAYERS):
            for window in near:
                if distance < len(window) and self.ready[window[distance]] == NOT_READY:
                    self._read(window[distance])
                    return True
        if not near:
            self._wanted.clear()
            if (self.at[:, AT_LAYER] != IDLE).any():  # began in between
                self._wanted.set()
        needed = {layer for window in near for layer in window}
        for layer in [layer for layer in self._held if layer not in needed]:
            if sum(self._held.values()) <= self.keep_bytes:
                break
            self._give_up(layer)
        return False

    def _read(self, layer: int) -> None:
        """Bring a layer into memory; reading it is checking it."""
        started_at, n_bytes, damaged = perf_counter(), 0, False
        for segment in self.segments:
            entries = segment.entries(layer)
            n_bytes += entries.nbytes
            damaged |= zlib.crc32(entries.data) != segment.checksums[layer]
        self.read_s += perf_counter() - started_at
        self.n_read, self.bytes_read = self.n_read + 1, self.bytes_read + n_bytes
        self._ever[layer] = True
        self._held[layer] = n_bytes
        self.ready[layer] = DAMAGED if damaged else READY

    def _give_up(self, layer: int) -> None:
        """Let the system take a layer's pages back; those it shares with others are read again."""
        if self.ready[layer] == READY:
            self.ready[layer] = NOT_READY
        del self._held[layer]
        for segment in self.segments:
            found = getattr(segment.array, "_mmap", None)
            if found is None or segment.at[layer] < 0:
                continue
            start = int(segment.at[layer]) * segment.array.itemsize
            stop = start + int(segment.length[layer]) * segment.array.itemsize
            first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop // mmap.PAGESIZE * mmap.PAGESIZE
            if first < last and hasattr(mmap, "MADV_DONTNEED"):
                found.madvise(mmap.MADV_DONTNEED, first, last - first)


def _read_on(reference: weakref.ref[LayerReader], wanted: threading.Event, stopped: threading.Event) -> None:
    """Read layer after layer, as the thread's body, until nobody has the reader any more."""
    while not stopped.is_set():
        wanted.wait()
        reader = reference()
        if reader is None:
            return
        try:
            busy = reader.step()
        except Exception as error:  # whatever it is, kernels must not wait for this thread any more
            reader.fail(error)
            return
        del reader
        if not busy:
            sleep(POLL_S)


def _stop(wanted: threading.Event, stopped: threading.Event) -> None:
    stopped.set()
    wanted.set()
