"""Makes room for dense blocks, what is joined of them, and their results."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.numba_cpu.dense.kernels import blocks as kernels
from backends.numba_cpu.dense.kernels import pools as blocks
from backends.numba_cpu.dense.kernels import simd
from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.layout.kernels.groups import GROUP
from backends.numba_cpu.layout.packing import Connections
from backends.numba_cpu.plan import GROWTH, aligned_floats
from sparsednn.system.memory import cache_bytes

FAR_CACHES = 8
"""Second-level caches that two blocks must be larger than, in order to be written past the caches: of smaller ones the next
layer finds in the third-level cache what was written, which saves more than lines that are not read before they are written."""


def far_bytes() -> int:
    """Return how large two blocks must be to be written past the caches."""
    return FAR_CACHES * cache_bytes(2)


def wide_weights(conn: Connections) -> NDArray[np.float32]:
    """Return room for the weights of the longest column, or group of columns; none where they are float32 already."""
    if conn.weights.dtype == np.float32:
        return blocks.NO_WEIGHTS
    longest = max(int(conn.degree.max(initial=0)), int(np.diff(conn.indptr).max(initial=0)))
    return aligned_floats(GROUP * max(longest, 1)).reshape(1, -1)


def block_memory(widest: int, block_rows: int, checkpoints: NDArray[np.int64]) -> blocks.BlockWork:
    """Return the memory for one block, its successor, and a pool of half a block for each checkpoint."""
    n_pools, n_floats = len(checkpoints), n_slots(widest) * block_rows
    no_ids, no_bytes = np.empty(0, np.int64), np.empty(0, np.uint8)
    return blocks.BlockWork(
        indptr=np.zeros(1, np.int32),
        indices=np.empty(0, np.int32),
        values=np.empty(0, np.float32),
        rows=no_ids,
        sums=np.empty(0),
        retired=no_bytes,
        twin=no_ids,
        blocks=aligned_floats(2 * n_floats).reshape(2, n_floats),
        ids=np.empty((2, block_rows), np.int64),
        pools=aligned_floats(n_pools * (n_floats // 2)).reshape(n_pools, n_floats // 2),
        pool_ids=np.empty((n_pools, block_rows // 2), np.int64),
        pool_count=np.zeros(n_pools, np.int64),
        checkpoints=checkpoints,
        alive=np.empty(block_rows, np.int32),
        below=np.empty(block_rows, np.int32),
        vectors=np.empty((2, block_rows // simd.LANES), np.int32),
        state=np.zeros(blocks.N_STATE, np.int64),
    )


def with_rows(
    memory: blocks.BlockWork, inputs: sp.csr_array, rows: NDArray[np.int64], *, output: bool, merges: bool
) -> blocks.BlockWork:
    """Return a worker's blocks with the rows of a new row group, none of which is in a block yet.

    `output` says that the last activations are wanted, `merges` that instances with the same bits go on as one.
    """
    n_rows = len(rows)
    memory.state[:] = 0
    memory.pool_count[:] = 0
    return memory._replace(
        indptr=inputs.indptr,
        indices=inputs.indices,
        values=inputs.data,
        rows=rows,
        sums=np.zeros(n_rows),
        retired=np.zeros(n_rows if output else 0, np.uint8),
        twin=np.full(n_rows if merges else 0, -1),
    )


def no_output(n_rows: int) -> kernels.Output:
    """Room for the ids of so many instances, and for no activations yet."""
    return kernels.Output(
        ids=np.empty(n_rows, np.int64),
        indptr=np.zeros(n_rows + 1, np.int64),
        indices=np.empty(0, np.int32),
        values=np.empty(0, np.float32),
    )


def larger(output: kernels.Output, at_least: int) -> kernels.Output:
    """Return the same output with room for one more block."""
    n = int(len(output.indices) * GROWTH) + at_least
    indices, values = np.empty(n, np.int32), np.empty(n, np.float32)
    indices[: len(output.indices)], values[: len(output.values)] = output.indices, output.values
    return output._replace(indices=indices, values=values)
