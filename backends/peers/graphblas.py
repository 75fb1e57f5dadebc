"""Multiplies with SuiteSparse:GraphBLAS: sparse layers times full matrices, over the semiring plus_times.

Faster here than products of two sparse matrices by far: GraphBLAS has a kernel of its own that adds the product of a sparse and
a full matrix to a full one. Blocks change hands between NumPy and GraphBLAS without a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from backends.peers.base import LayerwisePeer, peer_package
from backends.peers.blocks import Float32


class GraphblasBackend(LayerwisePeer):
    """``out += layer @ block`` on full matrices stored by rows."""

    name = "graphblas"
    block_rows = 256
    entry_bytes = 12

    def __init__(self) -> None:
        self._gb: Any = peer_package("graphblas")
        dtype = self._gb.dtypes.FP32
        self._plus_times, self._plus = self._gb.semiring.plus_times[dtype], self._gb.binary.plus[dtype]

    def weights(self, matrix: sp.csr_array) -> Any:
        """Return a GraphBLAS matrix in CSR form."""
        return self._gb.Matrix.ss.import_csr(
            nrows=matrix.shape[0],
            ncols=matrix.shape[1],
            indptr=matrix.indptr.astype(np.uint64),
            col_indices=matrix.indices.astype(np.uint64),
            values=matrix.data,
            take_ownership=True,
        )

    def multiply(self, weights: Any, block: Float32, out: Float32) -> tuple[Float32, Float32]:
        """Lend both blocks to GraphBLAS, multiply, and take them back."""
        out.fill(0)
        y, z = self._full(block), self._full(out)
        z(self._plus) << self._plus_times(weights @ y)
        return _taken_back(y), _taken_back(z)

    def _full(self, block: Float32) -> Any:
        n_rows, n_columns = block.shape
        return self._gb.Matrix.ss.import_fullr(nrows=n_rows, ncols=n_columns, values=block, take_ownership=True)

    def set_threads(self, n_threads: int) -> int:
        """Set the threads of all of GraphBLAS."""
        before = int(self._gb.ss.config["nthreads"])
        self._gb.ss.config["nthreads"] = n_threads
        return before


def _taken_back(matrix: Any) -> Float32:
    array: Float32 = matrix.ss.export("fullr", give_ownership=True)["values"]
    return array
