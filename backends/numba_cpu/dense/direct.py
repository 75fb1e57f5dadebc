"""Keeps a network packed in slices, with threads that wait for calls: dense batches in, dense activations out."""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.common.column_merging import MergedColumns
from backends.common.jit import JIT_DISABLED
from backends.numba_cpu.dense.kernels import direct as kernels
from backends.numba_cpu.dense.kernels import helpers
from backends.numba_cpu.dense.kernels.slices import MOST_LANES
from backends.numba_cpu.layout.slices import pack_slices
from backends.numba_cpu.plan import CACHE_LINE_BYTES, aligned_floats
from sparsednn.backend import DirectOutcome, KernelOptions
from sparsednn.network import Network

WORTH_WAKING = 50_000
"""Multiply-adds of a call below which the helpers are not called: they would come too late."""

OUTCOMES = {
    kernels.RIGHT: DirectOutcome.RIGHT,
    kernels.NOT_FINITE: DirectOutcome.NOT_FINITE,
    kernels.OVERFLOW: DirectOutcome.OVERFLOW,
}

_LATEST = np.zeros(8, np.int64)
_NUMBERS = itertools.count(1)


class SlicedNetwork:
    """A network in slices of 16 columns, and the threads that compute it. `run` may be called by one thread at a time.

    Parameters
    ----------
    network : Network
    options : KernelOptions
        Of which `columns` and `order` are used.
    n_threads : int
        Threads of a call; the caller's is one of them.
    """

    kernel = "sliced"

    def __init__(self, network: Network, options: KernelOptions, n_threads: int) -> None:
        layers, last = list(network.layers), np.arange(network.n_outputs, dtype=np.int32)
        if options.columns == "merge":
            merged = MergedColumns(network)
            layers = list(merged.layers())
            last = merged.last
        widest = max(network.n_inputs, *(layer.n_outputs for layer in layers))
        self._slices = pack_slices(layers, widest)
        n_members = 1 if JIT_DISABLED else n_threads
        memory = _block_memory(n_members, (widest + 2) * MOST_LANES)
        self._shared = _lines(helpers.FIRST_MEMBER // helpers.LINE + n_members)
        self._shared[helpers.ID] = next(_NUMBERS)
        self.connections = sum(layer.nnz for layer in layers)
        self.n_helped = max(WORTH_WAKING // max(self.connections, 1), 1)
        always = network.bias_on == "all"
        self._arrays: tuple[Any, ...] = (*self._slices, last, self._slices.cuts(n_members), memory, always)
        self.n_bytes = self._slices.n_bytes + memory.nbytes
        self._given: tuple[Any, ...] = (self.n_helped, self._shared, _LATEST, *self._arrays)
        self._compile(network)
        self._threads = _start(n_members, (self._shared, _LATEST, *self._arrays))
        self._ends = weakref.finalize(self, _stop, self._threads, self._shared)

    def _compile(self, network: Network) -> None:
        """Compile everything, by calls that have nothing to do."""
        x, out = np.zeros((0, network.n_inputs), np.float32), np.zeros((0, network.n_outputs), np.float32)
        kernels.call(x, out, *self._given)
        batch: tuple[int, ...] = (x.ctypes.data, *x.strides, 0, out.ctypes.data, *out.strides)
        kernels.call_at(*batch, *self._given)
        nothing = self._shared.copy()
        helpers.dismiss(nothing)
        kernels.serve(0, nothing, _LATEST, *self._arrays)

    def run(self, x: NDArray[np.float32], out: NDArray[np.float32]) -> DirectOutcome:
        """Take a batch of any strides through all layers; see `sparsednn.backend.DirectNetwork`."""
        if x.flags.carray and out.flags.c_contiguous:
            return OUTCOMES[kernels.call(x, out, *self._given)]
        batch = (x.ctypes.data, *x.strides, x.shape[0], out.ctypes.data, *out.strides)
        return OUTCOMES[kernels.call_at(*batch, *self._given)]

    def close(self) -> None:
        """End the threads."""
        self._ends()


def _start(n_members: int, arrays: tuple[Any, ...]) -> list[threading.Thread]:
    """Start the helpers: daemons, since they would keep a program from ending that has forgotten to close."""
    threads = [
        threading.Thread(target=kernels.serve, args=(member, *arrays), name=f"sparsednn-{member}", daemon=True)
        for member in range(1, n_members)
    ]
    for thread in threads:
        thread.start()
    return threads


def _stop(threads: list[threading.Thread], shared: NDArray[np.int64]) -> None:
    if threads:
        helpers.dismiss(shared)
    for thread in threads:
        thread.join()


def _block_memory(n_members: int, floats: int) -> NDArray[np.float32]:
    """Return zeros of shape (n_members, 2, floats), each row at the beginning of a cache line."""
    per_line = CACHE_LINE_BYTES // 4
    floats = -(-floats // per_line) * per_line
    memory = aligned_floats(n_members * 2 * floats)
    memory[:] = 0
    return memory.reshape(n_members, 2, floats)


def _lines(n: int) -> NDArray[np.int64]:
    """Return `n` cache lines of zeros."""
    raw = np.zeros(n * CACHE_LINE_BYTES + CACHE_LINE_BYTES, np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE_BYTES
    return raw[offset : offset + n * CACHE_LINE_BYTES].view(np.int64)
