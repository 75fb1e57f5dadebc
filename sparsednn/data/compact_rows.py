"""Holds instances whose nonzeros all have one value: ids of 16 bits, and the value once."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import csr_of
from sparsednn.system.memory import require
from sparsednn.system.parallel import in_threads

GATHERED_ROWS = 64
"""Rows that are gathered at a time: the positions of their entries, 8 bytes each, stay in the caches."""

CONVERTED_ENTRIES = 2**22
"""Entries that a thread converts at a time."""


class CompactRows:
    """Instances whose nonzeros all have the same value: a quarter of the bytes of a ``csr_array``.

    Kernels read it as they read a ``csr_array``, by the same attributes, if they are compiled for 16-bit ids; `to_csr` is for
    all others.

    Parameters
    ----------
    indptr : int32 array, shape (n_rows + 1,)
        Where the entries of each row start, from 0 on.
    indices : uint16 array, shape (nnz,)
        Ascending in each row; not to be written to, since they may be mapped from a file.
    n_inputs : int
        At most 65,536.
    value : float
        Of all entries.

    Attributes
    ----------
    data : float32 array
        The value, for each entry: a view of one number. At least two entries, so that it always has that layout.
    """

    def __init__(self, indptr: NDArray[np.int32], indices: NDArray[np.uint16], n_inputs: int, value: float = 1.0) -> None:
        self.indptr, self.indices = indptr, indices
        self.shape = len(indptr) - 1, n_inputs
        self.data = np.ndarray((max(len(indices), 2),), np.float32, np.full(1, value, np.float32).data, strides=(0,))

    @classmethod
    def empty(cls, n_rows: int, n_inputs: int) -> CompactRows:
        """Return rows without an entry."""
        return cls(np.zeros(n_rows + 1, np.int32), np.empty(0, np.uint16), n_inputs)

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return len(self.indices)

    @property
    def value(self) -> float:
        """The value of all entries."""
        return float(self.data[0])

    def taken(self, ids: NDArray[np.int64]) -> CompactRows:
        """Return some rows, 0-based; neighbours are not copied."""
        if len(ids) and (np.diff(ids) == 1).all():
            indptr = self.indptr[ids[0] : ids[-1] + 2]
            return CompactRows(indptr - indptr[0], self.indices[indptr[0] : indptr[-1]], self.shape[1], self.value)
        starts, counts = self.indptr[ids].astype(np.int64), np.diff(self.indptr)[ids]
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        require(2 * int(indptr[-1]), f"{len(ids)} instances of {self.shape[1]} neurons", "use fewer instances")
        indices = np.empty(indptr[-1], np.uint16)
        for first in range(0, len(ids), GATHERED_ROWS):
            last = min(first + GATHERED_ROWS, len(ids))
            begin, end = indptr[first], indptr[last]
            at = np.arange(begin, end) + np.repeat(starts[first:last] - indptr[first:last], counts[first:last])
            indices[begin:end] = self.indices[at]
        return CompactRows(indptr, indices, self.shape[1], self.value)

    def __getitem__(self, ids: NDArray[np.int64]) -> sp.csr_array:
        """Return some rows, 0-based, as a ``csr_array``."""
        return self.taken(ids).to_csr()

    def to_csr(self) -> sp.csr_array:
        """Return the rows as a ``csr_array`` of float32 with int32 indices, which it allocates.

        Raises
        ------
        MemoryError
            If it does not fit.
        """
        require(8 * self.nnz, f"{self.shape[0]} instances of {self.shape[1]} neurons", "use fewer instances")
        indices, data = np.empty(self.nnz, np.int32), np.empty(self.nnz, np.float32)

        def convert(first: int) -> None:
            part = slice(first, first + CONVERTED_ENTRIES)
            indices[part], data[part] = self.indices[part], self.value

        list(in_threads(convert, range(0, self.nnz, CONVERTED_ENTRIES)))
        return csr_of(self.indptr.copy(), indices, data, self.shape[1])
