"""Inputs as the kernels want them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def canonical_inputs(inputs: Any, n_inputs: int) -> sp.csr_array:
    """Return inputs as the kernels want them.

    A ``csr_array`` of float32 with sorted int32 indices, int64 index pointers, no duplicates and no explicit zeros; what is
    already so is not copied.

    Raises
    ------
    TypeError, ValueError
        If `inputs` is no matrix, has another width than `n_inputs`, or holds NaN or infinite values.
    """
    if not sp.issparse(inputs) and not isinstance(inputs, np.ndarray):
        raise TypeError(f"inputs must be a scipy.sparse matrix or a NumPy array, not {type(inputs).__name__}")
    if inputs.ndim != 2 or inputs.shape[1] != n_inputs:
        raise ValueError(f"inputs have shape {inputs.shape}, but the network has {n_inputs} inputs")
    with np.errstate(over="ignore"):
        csr = sp.csr_array(inputs, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(csr.data))
    if bad.size:
        row = int(np.searchsorted(csr.indptr, bad[0], side="right"))
        raise ValueError(
            f"inputs: instance {row}, feature {csr.indices[bad[0]] + 1} is {csr.data[bad[0]]}, which is not finite"
        )
    if not csr.has_canonical_format or not csr.data.all():
        csr = csr.copy() if csr.data is getattr(inputs, "data", None) else csr
        csr.sum_duplicates()
        csr.eliminate_zeros()
    indices = csr.indices.astype(np.int32, copy=False)
    indptr = csr.indptr.astype(np.int64, copy=False)
    return _csr(csr.data, indices, indptr, csr.shape)


def _csr(data: NDArray[np.float32], indices: NDArray[np.int32], indptr: NDArray[np.int64], shape: Any) -> sp.csr_array:
    """Make a csr_array that keeps int32 indices beside int64 pointers (scipy's constructor would make them alike)."""
    csr = sp.csr_array(shape, dtype=np.float32)
    csr.data, csr.indices, csr.indptr = data, indices, indptr
    csr.has_canonical_format = True
    return csr
