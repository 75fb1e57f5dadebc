"""Keeps a network packed in slices, with threads that wait for calls: dense batches in, dense activations out."""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.column_merging import MergedColumns
from backends.common.jit import JIT_DISABLED
from backends.numba_cpu.dense.kernels import direct as kernels
from backends.numba_cpu.dense.kernels import helpers
from backends.numba_cpu.dense.kernels.slices import MOST_LANES
from backends.numba_cpu.layout.arrays import join, split
from backends.numba_cpu.layout.kernels.slices import N_INPUTS, N_OUTPUTS
from backends.numba_cpu.layout.slices import Slices, pack_slices, slice_ids
from backends.numba_cpu.plan import CACHE_LINE_BYTES, aligned_floats
from sparsednn.backend import DirectOutcome, DirectSize, KernelOptions, StoredLayout
from sparsednn.network import Network, NetworkOutline, RepeatedLayer

WORTH_WAKING = 50_000
"""Multiply-adds of a call below which the helpers are not called: they would come too late."""

OUTCOMES = {
    kernels.RIGHT: DirectOutcome.RIGHT,
    kernels.NOT_FINITE: DirectOutcome.NOT_FINITE,
    kernels.OVERFLOW: DirectOutcome.OVERFLOW,
}

_LATEST = np.zeros(8, np.int64)
_NUMBERS = itertools.count(1)


class PackedNetwork(NamedTuple):
    """A network packed for direct calls.

    slices : Slices
    last : int32 (n_outputs,)     for each of the network's outputs, the last layer's output that stands for it
    connections : int             that an instance goes through
    always : bool                 the bias is added to a sum of zero too
    """

    slices: Slices
    last: NDArray[np.int32]
    connections: int
    always: bool

    @property
    def widest(self) -> int:
        """Neurons of the input, or of the layer that has the most."""
        return int(self.slices.table[:, [N_INPUTS, N_OUTPUTS]].max())


def packed(network: Network, options: KernelOptions) -> PackedNetwork:
    """Pack a network; of the options, `columns` and `order` are used.

    Raises
    ------
    MemoryShortageError
        If it does not fit.
    """
    layers, last = list(network.layers), np.arange(network.n_outputs, dtype=np.int32)
    if options.columns == "merge":
        merged = MergedColumns(network)
        layers = list(merged.layers())
        last = merged.last
    widest = max(network.n_inputs, *(layer.n_outputs for layer in layers))
    slices = pack_slices(layers, widest)
    return PackedNetwork(slices, last, sum(layer.nnz for layer in layers), network.bias_on == "all")


def restored(stored: StoredLayout) -> PackedNetwork:
    """Return a packed network that was stored."""
    return join("network", PackedNetwork, stored, slices=join("slices", Slices, stored))


def direct_size(network: Network, options: KernelOptions) -> DirectSize:
    """Return how large the network will be, from its layers' sizes."""
    merges = options.columns == "merge"
    sizes = [layer.columns.size if merges and isinstance(layer, RepeatedLayer) else layer.nnz for layer in network.layers]
    widest = max(network.n_inputs, *(layer.n_outputs for layer in network.layers))
    return DirectSize(SlicedNetwork.kernel, sum(sizes), (np.dtype(slice_ids(widest)).itemsize + 4) * sum(sizes))


def warm_up(outline: NetworkOutline) -> None:
    """Compile everything, with networks of one connection.

    Whether columns will be merged is not known: then a network may have ids of either type.
    """
    for ids in {slice_ids(outline.n_inputs), slice_ids(outline.widest)}:
        n_inputs = 1 if ids == np.uint16 else np.iinfo(np.uint16).max + 1
        one = Network([sp.csr_array(([1.0], ([0], [0])), shape=(n_inputs, 1))])
        SlicedNetwork(packed(one, KernelOptions("auto", columns="none")), 1).close()


class SlicedNetwork:
    """A network in slices of 16 columns, and the threads that compute it. `run` may be called by one thread at a time.

    Parameters
    ----------
    network : PackedNetwork
    n_threads : int
        Threads of a call; the caller's is one of them.
    """

    kernel = "sliced"

    def __init__(self, network: PackedNetwork, n_threads: int) -> None:
        self._network, slices = network, network.slices
        n_members = 1 if JIT_DISABLED else n_threads
        memory = _block_memory(n_members, (network.widest + 2) * MOST_LANES)
        self._shared = _lines(helpers.FIRST_MEMBER // helpers.LINE + n_members)
        self._shared[helpers.ID] = next(_NUMBERS)
        self.connections = network.connections
        self.n_helped = max(WORTH_WAKING // max(self.connections, 1), 1)
        self._arrays: tuple[Any, ...] = (*slices, network.last, slices.cuts(n_members), memory, network.always)
        self.n_bytes = slices.n_bytes + memory.nbytes
        self._given: tuple[Any, ...] = (self.n_helped, self._shared, _LATEST, *self._arrays)
        self._compile(slices.table[0, N_INPUTS], len(network.last))
        self._threads = _start(n_members, (self._shared, _LATEST, *self._arrays))
        self._ends = weakref.finalize(self, _stop, self._threads, self._shared)

    def store(self) -> StoredLayout:
        """Return what the packed network is made of."""
        slices = self._network.slices
        starts = {f"slices.{name}": at for name, at in slices.starts().items()}
        return split(network=self._network, slices=slices)._replace(starts=starts)

    def _compile(self, n_inputs: int, n_outputs: int) -> None:
        """Compile everything, by calls that have nothing to do."""
        x, out = np.zeros((0, n_inputs), np.float32), np.zeros((0, n_outputs), np.float32)
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
