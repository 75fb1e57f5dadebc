"""Keeps a network whose layers go through BLAS ready for direct calls: dense batches in, dense activations out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.blas_threads import one_blas_thread
from backends.common.jit import JIT_DISABLED
from backends.numba_cpu.dense.blas_layers import dense_bytes, goes_through_blas
from backends.numba_cpu.dense.blas_plan import BlasPlan
from backends.numba_cpu.dense.kernels import dense_rows as kernels
from backends.numba_cpu.dense.kernels import pools as blocks
from backends.numba_cpu.dense.kernels.lanes import Rows
from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.dense.kernels.simd import LANES
from backends.numba_cpu.dense.memory import far_bytes
from backends.numba_cpu.layout.arrays import split
from backends.numba_cpu.plan import aligned_floats
from sparsednn.backend import DirectOutcome, DirectSize, KernelOptions, StoredLayout
from sparsednn.network import Network, NetworkOutline

WORTH_A_THREAD = 2_000_000
"""Multiply-adds that a further thread is called for: it takes some 50 microseconds to wake up."""

HOW = "each thread takes blocks of instances, and calls BLAS for itself"

OPTIONS = "direct"
"""Under this name a stored network has what it was packed for."""


class _Options(NamedTuple):
    """The options that a network for direct calls was packed with."""

    kernel: str
    columns: str
    block_rows: int


class BlockNetwork:
    """A network in the layout of `BlasPlan`, and threads that take blocks of instances. One thread may call `run` at a time.

    Parameters
    ----------
    plan : BlasPlan
        Its first layer by rows is not needed, and given up.
    n_threads : int
        Threads of a call; the caller's is one of them.
    """

    saved = 0
    weights = "float32"

    def __init__(self, plan: BlasPlan, n_threads: int) -> None:
        self._plan, self.kernel, self.columns = plan, plan.kernel, plan.format.columns
        self.connections, self.tolerance = int(plan.n_connections.sum()), plan.tolerance
        plan.first_layer = blocks.FirstLayer(
            indptr=np.zeros(1, np.int64), ids=plan.connections.ids[:0], weights=np.empty(0, np.float32)
        )
        self._n_threads = 1 if JIT_DISABLED else n_threads
        floats = n_slots(plan.widest) * plan.block_rows
        self._blocks = [aligned_floats(2 * floats).reshape(2, floats) for _ in range(self._n_threads)]
        self._pool = ThreadPoolExecutor(max(self._n_threads - 1, 1), "sparsednn-blocks")
        nothing = np.empty(0, np.float32)
        self._column = blocks.Column(
            ids=plan.connections.ids[:0], weights=nothing, sums=nothing, band=nothing, table=np.empty(0, np.int32),
            far_bytes=far_bytes(),
        )  # fmt: skip
        self._compile()

    @property
    def n_bytes(self) -> int:
        """Bytes of the layers and of the activations."""
        layers = sum(array.nbytes for array in self._plan.store().arrays.values())
        return layers + sum(array.nbytes for array in self._blocks)

    def run(self, x: NDArray[np.float32], out: NDArray[np.float32]) -> DirectOutcome:
        """Take a batch of any strides through all layers; see `sparsednn.backend.DirectNetwork`."""
        rows, n = _rows(x, out), len(x)
        if not kernels.rows_are_finite(rows, n, x.shape[1]):
            return DirectOutcome.NOT_FINITE
        n_members = min(self._n_threads, max(n * self.connections // WORTH_A_THREAD, 1), max(n, 1))
        at_once = min(self._plan.block_rows, -(-n // (n_members * LANES)) * LANES)
        shared = np.zeros(2 * kernels.LINE, np.int64)
        with one_blas_thread():
            helpers = [self._pool.submit(self._take, member, rows, n, at_once, shared) for member in range(1, n_members)]
            self._take(0, rows, n, at_once, shared)
            wait(helpers)
        for helper in helpers:
            helper.result()
        return DirectOutcome.OVERFLOW if shared[kernels.OVERFLOWN] else DirectOutcome.RIGHT

    def _take(self, member: int, rows: Rows, n: int, at_once: int, shared: NDArray[np.int64]) -> None:
        plan = self._plan
        kernels.take_blocks(rows, n, at_once, plan.neurons, plan.connections, self._column, self._blocks[member], shared)

    def _compile(self) -> None:
        """Compile everything, by a call that has nothing to do."""
        neurons = self._plan.neurons
        self.run(np.zeros((0, int(neurons.widths[0])), np.float32), np.zeros((0, len(neurons.last)), np.float32))

    def store(self) -> StoredLayout:
        """Return what it is made of; see `restored`."""
        plan = self._plan
        stored, of = plan.store(), split(**{OPTIONS: _Options(plan.kernel, self.columns, plan.block_rows)})
        return stored._replace(values={**stored.values, **of.values})

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _rows(x: NDArray[np.float32], out: NDArray[np.float32]) -> Rows:
    """Return where two arrays are."""
    (x_row, x_column), (out_row, out_column) = x.strides, out.strides
    return Rows(x.ctypes.data, x_row, x_column, out.ctypes.data, out_row, out_column)


def packed(network: Network, options: KernelOptions, n_threads: int) -> BlockNetwork:
    """Pack a network for direct calls. Raises MemoryShortageError where it does not fit."""
    return BlockNetwork(BlasPlan(network, options.kernel, options, 1), n_threads)


def is_stored(stored: StoredLayout) -> bool:
    """Whether it is such a network that was stored."""
    return f"{OPTIONS}.kernel" in stored.values


def restored(stored: StoredLayout, n_threads: int) -> BlockNetwork:
    """Return a network that was stored."""
    of = _Options(**{name: stored.values[f"{OPTIONS}.{name}"] for name in _Options._fields})
    options = KernelOptions(kernel=of.kernel, columns=of.columns, block_rows=of.block_rows)
    return BlockNetwork(BlasPlan(stored, of.kernel, options, 1), n_threads)


def direct_size(network: Network, options: KernelOptions) -> DirectSize:
    """Return how large the network will be, by the sizes of its layers as they are given."""
    n_bytes = 0
    for layer in network.layers:
        through_blas = goes_through_blas(options.kernel, layer.n_inputs, layer.n_outputs, layer.nnz)
        n_bytes += dense_bytes(layer.n_inputs, layer.n_outputs) if through_blas else 8 * layer.nnz
    return DirectSize(options.kernel, network.nnz, n_bytes, HOW)


def warm_up(outline: NetworkOutline, kernel: str) -> None:
    """Compile everything, with a network of one connection and as many inputs as the type of ids wants."""
    n_inputs = 1 if outline.widest <= np.iinfo(np.uint16).max + 1 else np.iinfo(np.uint16).max + 2
    one: Any = sp.csr_array(([1.0], ([0], [0])), shape=(n_inputs, 1))
    packed(Network([one]), KernelOptions(kernel=kernel), 1).close()
