"""Columns one after the other so that neighbours share inputs."""

from __future__ import annotations

import numpy as np

from backends.numba_cpu.jit import inline, kernel


@inline
def readers_of_inputs(indptr, indices, n_inputs):
    """The columns that read each input: those of input i are ``readers[starts[i] .. starts[i + 1]]``."""
    starts = np.zeros(n_inputs + 1, np.int64)
    for k in range(indices.shape[0]):
        starts[indices[k] + 1] += 1
    for i in range(n_inputs):
        starts[i + 1] += starts[i]
    readers, at = np.empty(indices.shape[0], np.int32), starts[:-1].copy()
    for column in range(indptr.shape[0] - 1):
        for k in range(indptr[column], indptr[column + 1]):
            readers[at[indices[k]]] = column
            at[indices[k]] += 1
    return starts, readers


@inline
def closest(column, indptr, indices, starts, readers, taken, shared, met):
    """The column not yet taken that shares the most inputs with one; -1 if none shares any. The first of several."""
    n_met = 0
    for k in range(indptr[column], indptr[column + 1]):
        for r in range(starts[indices[k]], starts[indices[k] + 1]):
            other = readers[r]
            if taken[other] == 0:
                if shared[other] == 0:
                    met[n_met] = other
                    n_met += 1
                shared[other] += 1
    best = -1
    for n in range(n_met):
        if best < 0 or shared[met[n]] > shared[best] or (shared[met[n]] == shared[best] and met[n] < best):
            best = met[n]
    for n in range(n_met):
        shared[met[n]] = 0
    return best


@kernel
def chain(indptr, indices, n_inputs, candidates):
    """Order columns so that each one is followed by the one that shares the most inputs with it.

    indptr : int64 (n + 1,), indices : int32 (nnz,)    the layer, in CSC
    candidates : int64 (n,)                            where no column shares any, the first of these goes on
    Returns int64 (n,).
    """
    n = candidates.shape[0]
    starts, readers = readers_of_inputs(indptr, indices, n_inputs)
    taken, shared, met = np.zeros(n, np.uint8), np.zeros(n, np.int32), np.empty(n, np.int32)
    order = np.empty(n, np.int64)
    column, next_candidate = np.int64(-1), 0
    for position in range(n):
        if column >= 0:
            column = np.int64(closest(column, indptr, indices, starts, readers, taken, shared, met))
        while column < 0:
            if taken[candidates[next_candidate]] == 0:
                column = candidates[next_candidate]
            next_candidate += 1
        order[position] = column
        taken[column] = 1
    return order
