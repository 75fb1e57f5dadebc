"""Inputs as the kernels want them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsednn.network import require_valid_indices


def canonical_inputs(inputs: Any, n_inputs: int) -> sp.csr_array:
    """Return inputs as the kernels want them.

    A ``csr_array`` of float32 with sorted indices (int32, unless there are 2**31 entries or more), no duplicates and no
    explicit zeros; what is already so is not copied, and the caller's matrix is not changed.

    Raises
    ------
    TypeError, ValueError
        If `inputs` is no matrix, has another width than `n_inputs`, or holds NaN or infinite values.
    """
    if not sp.issparse(inputs) and not isinstance(inputs, np.ndarray):
        raise TypeError(f"inputs must be a scipy.sparse matrix or a NumPy array, not {type(inputs).__name__}")
    if np.iscomplexobj(inputs):
        raise TypeError(f"inputs are complex ({inputs.dtype}); real numbers are needed")
    if inputs.ndim != 2 or inputs.shape[1] != n_inputs:
        raise ValueError(f"inputs have shape {inputs.shape}, but the network has {n_inputs} inputs")
    if isinstance(inputs, np.ma.MaskedArray):
        raise TypeError("inputs are a masked array; fill it first, since a mask would be lost")
    if sp.issparse(inputs):
        require_valid_indices(inputs, "inputs")
    with np.errstate(over="ignore"):
        csr = sp.csr_array(inputs, dtype=np.float32)
    if not csr.has_canonical_format or not csr.data.all():
        csr = csr.copy()  # it may share arrays with the caller's matrix
        csr.sum_duplicates()
        csr.eliminate_zeros()
    bad = np.flatnonzero(~np.isfinite(csr.data))
    if bad.size:
        row = int(np.searchsorted(csr.indptr, bad[0], side="right"))
        raise ValueError(
            f"inputs: instance {row}, feature {csr.indices[bad[0]] + 1} is {csr.data[bad[0]]}, which is not finite"
        )
    if csr.indices.dtype != np.int32 and csr.nnz <= np.iinfo(np.int32).max:
        indices, indptr = csr.indices.astype(np.int32), csr.indptr.astype(np.int32)
        csr = sp.csr_array((csr.data, indices, indptr), shape=csr.shape)
    return csr
