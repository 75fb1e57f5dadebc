"""Keeps a network packed in slices, with threads that wait for calls: dense batches in, dense activations out."""

from __future__ import annotations

import itertools
import threading
import weakref
from contextlib import suppress
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.jit import JIT_DISABLED
from backends.common.short_weights import format_of
from backends.numba_cpu.dense.kernels import direct as kernels
from backends.numba_cpu.dense.kernels import helpers, pace, sliced_net
from backends.numba_cpu.dense.kernels.event_driven import SAVED
from backends.numba_cpu.dense.kernels.slices import MOST_LANES
from backends.numba_cpu.layout.event_rows import are_ascending, no_rows, pack_rows
from backends.numba_cpu.layout.sliced_network import KERNEL, SlicedLayers, packed
from backends.numba_cpu.layout.slices import slice_ids
from backends.numba_cpu.plan import CACHE_LINE_BYTES, aligned_floats
from sparsednn.backend import DirectOutcome, KernelOptions, StoredLayout
from sparsednn.errors import MemoryShortageError
from sparsednn.network import Network, NetworkOutline
from sparsednn.system.memory import cache_bytes

WORTH_WAKING = 50_000
"""Multiply-adds of a call below which the helpers are not called: they would come too late."""

OUTCOMES = {
    kernels.RIGHT: DirectOutcome.RIGHT,
    kernels.NOT_FINITE: DirectOutcome.NOT_FINITE,
    kernels.OVERFLOW: DirectOutcome.OVERFLOW,
    kernels.FEW_ALIVE: DirectOutcome.RIGHT,
}

MISSED_OFTEN = 8
"""Calls of one instance with so few living activations that the network is packed by rows after them: packing costs as much as
some hundred calls, and as much memory as the slices."""

NO_ROWS = np.zeros((0, 0), np.float32)

_LATEST = np.zeros(8, np.int64)
_NUMBERS = itertools.count(1)


def warm_up(outline: NetworkOutline, weights: str) -> None:
    """Compile everything for a format of weights, with networks of one connection.

    Whether columns will be merged is not known: then a network may have ids of either type.
    """
    for ids in {slice_ids(outline.n_inputs), slice_ids(outline.widest)}:
        n_inputs = 1 if ids == np.uint16 else np.iinfo(np.uint16).max + 1
        one = Network([sp.csr_array(([1.0], ([0], [0])), shape=(n_inputs, 1))])
        SlicedNetwork(packed(one, KernelOptions("auto", columns="none", weights=weights)), 1).close()


class SlicedNetwork:
    """A network in slices of 16 columns, and the threads that compute it. `run` may be called by one thread at a time.

    Parameters
    ----------
    network : SlicedLayers
    n_threads : int
        Threads of a call; the caller's is one of them.
    """

    kernel = KERNEL
    tolerance: float | None = None

    def __init__(self, network: SlicedLayers, n_threads: int) -> None:
        self._network, self._slices = network, network.slices
        self.columns, self.connections = network.columns, network.connections
        self.weights = format_of(self._slices.weights)
        self._rows, self._calls_of_few = no_rows(self._slices), 0
        n_members = 1 if JIT_DISABLED else n_threads
        self._memory = _block_memory(n_members, self._slices.n_rows * MOST_LANES)
        self._alive = np.zeros((n_members, network.widest + 1), np.int32)  # one is written beyond those that are alive
        self._counts = _lines(n_members).reshape(n_members, -1)
        self._cuts = self._slices.cuts(n_members)
        self._shared = _lines(helpers.FIRST_MEMBER // helpers.LINE + n_members)
        self._shared[helpers.ID] = next(_NUMBERS)
        paces = self._shared[helpers.OF_PACE : helpers.FIRST_MEMBER].reshape(-1, helpers.LINE)
        paces[:, [pace.UNTIL, pace.PERIOD]] = pace.FIRST_TRY
        self._fill_table()
        like = self._slices.ids[:0].reshape((0,) * sliced_net.WEIGHTS_OF[self.weights])
        self._given: tuple[Any, ...] = (self._shared, like)
        self._compile(network.n_inputs, len(network.last))
        self._threads = _start(n_members, self._given)
        self._ends = weakref.finalize(self, _stop, self._threads, self._shared)

    @property
    def n_bytes(self) -> int:
        """Bytes of the layers, as they are packed by now, and of the activations."""
        return self._slices.n_bytes + self._rows.n_bytes + self._memory.nbytes + self._alive.nbytes

    @property
    def saved(self) -> int:
        """Connections that the last call did not touch, since their inputs were zero."""
        return int(self._counts[:, SAVED].sum())

    def _fill_table(self) -> None:
        """Write down where the arrays are, for the threads; none of them may be in a call."""
        rows = self._rows
        arrays = {
            **self._slices._asdict(), "last": self._network.last, "cuts": self._cuts, "memory": self._memory,
            "alive": self._alive, "counts": self._counts, "targets": rows.targets, "row_weights": rows.weights,
            "starts": rows.starts, "starts_at": rows.starts_at,
        }  # fmt: skip
        for number, name in enumerate(sliced_net.ARRAYS):
            at = helpers.OF_NET + 2 * number
            self._shared[at : at + 2] = arrays[name].ctypes.data, arrays[name].size
        self._shared[sliced_net.ALWAYS], self._shared[sliced_net.MEMBERS] = self._network.always, len(self._memory)
        self._shared[sliced_net.N_HELPED] = max(WORTH_WAKING // max(self.connections, 1), 1)
        self._shared[sliced_net.LATEST] = _LATEST.ctypes.data
        self._shared[sliced_net.FAR] = self._slices.ids.nbytes + self._slices.weights.nbytes > cache_bytes(3) // 2

    def store(self) -> StoredLayout:
        """Return what the packed network is made of."""
        return self._network.store()

    def _compile(self, n_inputs: int, n_outputs: int) -> None:
        """Compile everything, by a call that has nothing to do."""
        x, out = np.zeros((0, n_inputs), np.float32), np.zeros((0, n_outputs), np.float32)
        kernels.take_part(kernels.CALLER, x, out, *self._given)

    def run(self, x: NDArray[np.float32], out: NDArray[np.float32]) -> DirectOutcome:
        """Take a batch of any strides through all layers; see `sparsednn.backend.DirectNetwork`."""
        if x.flags.carray and out.flags.c_contiguous:
            code = kernels.take_part(kernels.CALLER, x, out, *self._given)
        else:
            rows = (x.ctypes.data, *x.strides, x.shape[0], out.ctypes.data, *out.strides)
            self._shared[helpers.X : helpers.X + len(rows)] = rows
            code = kernels.take_part(kernels.CALLER_OF_ROWS, NO_ROWS, NO_ROWS, *self._given)
        if code == kernels.FEW_ALIVE:
            self._few_were_alive()
        return OUTCOMES[code]

    def _few_were_alive(self) -> None:
        """Pack the network by rows too, once that has been missed often enough and if there is memory for it."""
        self._calls_of_few += 1
        if self._calls_of_few == MISSED_OFTEN:
            with suppress(MemoryShortageError):
                self.pack_rows()

    def pack_rows(self) -> bool:
        """Pack the network by rows too, for single instances of which few activations are alive; False if it cannot be, as
        with slices that are stored once for several places.

        Raises
        ------
        MemoryShortageError
            If the rows do not fit.
        """
        if self._slices.has_shifts:
            return False
        layers = self._network.layers()
        if not are_ascending(layers):
            return False
        self._rows = pack_rows(layers, self._slices, len(self._memory))
        self._fill_table()
        return True

    def close(self) -> None:
        """End the threads."""
        self._ends()


def _start(n_members: int, given: tuple[Any, ...]) -> list[threading.Thread]:
    """Start the helpers: daemons, since they would keep a program from ending that has forgotten to close."""
    threads = [
        threading.Thread(
            target=kernels.take_part, args=(member, NO_ROWS, NO_ROWS, *given), name=f"sparsednn-{member}", daemon=True
        )
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
