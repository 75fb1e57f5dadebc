"""Finds the columns of a layer that are the same: same inputs, weights and order, same bias."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline, kernel
from backends.common.kernels.activation import activate

FIRST, FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)
"""The start value of the hash FNV-1a; 2**64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)."""


@inline
def mixed(digest, value):
    """Stir a value into a hash."""
    digest = (digest ^ value) * FACTOR
    return digest ^ (digest >> np.uint64(29))


@inline
def same_columns(a, b, indptr, indices, weights, step, bias, representative):
    """Whether two columns have the same terms in the same order, and the same bias.

    indptr : int64 (n + 1,), indices : int32 (nnz,), weights : int32 (nnz,) or (1,)    see `merge_columns`
    bias : int32 (n,), representative : int32 (n_inputs,)
    """
    degree = indptr[a + 1] - indptr[a]
    if indptr[b + 1] - indptr[b] != degree or bias[a] != bias[b]:
        return False
    for k in range(degree):
        p, q = indptr[a] + k, indptr[b] + k
        if representative[indices[p]] != representative[indices[q]] or weights[p * step] != weights[q * step]:
            return False
    return True


@kernel
def merge_columns(indptr, indices, weights, step, bias, representative, table, merged, kept):
    """Find for each column the first one that is the same.

    indptr : int64 (n + 1,), indices : int32 (nnz,)    the layer, in CSC
    weights : int32 (nnz,) with step 1, or (1,) with step 0 where all are the same; bits of float32
    bias : int32 (n,)                                  bits of float32, or a number for each different bias and activation
    representative : int32 (n_inputs,)                 kept input of each input
    table : int32 (a power of two above n,)            filled with -1
    merged : int32 (n,)                                result: number of each column among those kept
    kept : int32 (n,)                                  result: the columns kept, ascending
    Returns how many are kept.
    """
    n_kept, mask = 0, np.uint64(table.shape[0] - 1)
    for column in range(bias.shape[0]):
        digest = mixed(FIRST, np.uint64(np.uint32(bias[column])))
        for k in range(indptr[column], indptr[column + 1]):
            digest = mixed(digest, np.uint64(representative[indices[k]]))
            if step != 0:
                digest = mixed(digest, np.uint64(np.uint32(weights[k])))
        at = np.int64(digest & mask)
        while table[at] >= 0 and not same_columns(
            column, kept[table[at]], indptr, indices, weights, step, bias, representative
        ):
            at = np.int64(np.uint64(at + 1) & mask)
        if table[at] < 0:
            table[at], kept[n_kept] = n_kept, column
            n_kept += 1
        merged[column] = table[at]
    return n_kept


@kernel
def keeps_saturated(indptr, indices, weights, step, bias, bias_at_zero, low, high, before):
    """Whether a row in which every neuron is `before` comes out of the layer with every neuron at `high`.

    Added up as the kernels do it, term by term in the order of the entries, so that the rounding is theirs.

    indptr : int64 (n + 1,), indices : int32 (nnz,)    the layer, in CSC
    weights : float32 (nnz,) with step 1, or (1,) with step 0 where all are the same
    bias, bias_at_zero : float32 (n,)
    """
    for column in range(bias.shape[0]):
        total = np.float32(0)
        for k in range(indptr[column], indptr[column + 1]):
            total += weights[k * step] * before
        if activate(total, bias[column], bias_at_zero[column], low, high) != high:
            return False
    return True
