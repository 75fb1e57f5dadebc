"""Finds the columns of a layer that are the same: same inputs, weights and order, same bias."""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline, kernel
from backends.common.kernels.activation import activate

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, odd (Knuth, The Art of Computer Programming 3, 6.4)."""


@inline
def same_columns(a, b, start, other, degree, indptr, weights, step, bias, inputs):
    """Whether columns a and b have the same terms in the same order, and the same bias.

    Their `degree` inputs start at `start` and `other` in `inputs`.

    indptr : int64 (n + 1,), weights : int32 (nnz,) or (1,), bias : int32 (n,)    see `merge_columns`
    inputs : int32 (nnz,)
    """
    if indptr[b + 1] - indptr[b] != degree or bias[a] != bias[b]:
        return False
    p, q = indptr[a] * step, indptr[b] * step
    for k in range(degree):
        if inputs[start + k] != inputs[other + k] or weights[p + k * step] != weights[q + k * step]:
            return False
    return True


@kernel
def merge_columns(indptr, indices, weights, step, bias, representative, table, merged, kept, ends, inputs):
    """Find for each column the first one that is the same; keep that one only, with the inputs that were kept.

    Columns are looked up by a hash, a polynomial of their terms: each is multiplied by a power of its own, so that no
    multiplication waits for the one before.

    indptr : int64 (n + 1,), indices : int32 (nnz,)    the layer, in CSC
    weights : int32 (nnz,) with step 1, or (1,) with step 0 where all are the same; bits of float32
    bias : int32 (n,)                                  bits of float32, or a number for each different bias and activation
    representative : int32 (n_inputs,)                 kept input of each input
    table : int32 (a power of two above n,)            filled with -1
    merged : int32 (n,)                                result: number of each column among those kept
    kept : int32 (n,)                                  result: the columns kept, ascending
    ends : int64 (n + 1,)                              result: where their inputs start in `inputs`, and the last ones end
    inputs : int32 (nnz,)                              result: the kept input of each of their connections
    Returns how many are kept.
    """
    n_kept, mask = 0, np.uint64(table.shape[0] - 1)
    ends[0] = 0
    for column in range(bias.shape[0]):
        start, first, degree = ends[n_kept], indptr[column], indptr[column + 1] - indptr[column]
        digest, power = np.uint64(np.uint32(bias[column])), FACTOR
        for k in range(degree):
            found = representative[indices[first + k]]
            inputs[start + k] = found
            weight = np.uint64(np.uint32(weights[(first + k) * step])) << np.uint64(32)
            digest += (np.uint64(found) | weight) * power
            power *= FACTOR
        digest = (digest ^ (digest >> np.uint64(29))) * FACTOR
        at = np.int64((digest ^ (digest >> np.uint64(32))) & mask)
        while table[at] >= 0 and not same_columns(
            column, kept[table[at]], start, ends[table[at]], degree, indptr, weights, step, bias, inputs
        ):
            at = np.int64(np.uint64(at + 1) & mask)
        if table[at] < 0:
            table[at], kept[n_kept] = n_kept, column
            n_kept += 1
            ends[n_kept] = start + degree
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
