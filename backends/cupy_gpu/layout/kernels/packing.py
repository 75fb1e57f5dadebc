"""Packs connections into sliced ELL with compiled loops."""

from __future__ import annotations

from backends.common.jit import kernel


@kernel
def fill_slices(indptr, indices, values, slice_outputs, slices, ids, local, weights, maps, inputs, stamp, place):
    """Put the connections of a layer into slices, and find the inputs of each slice in the order in which they are met.

    indptr : int64 (n_outputs + 1,), indices : int32 (nnz,), values : float32 (nnz,)   the layer, in CSC
    slice_outputs : int                               outputs of a slice
    slices : int64 (n_slices + 1,)                    where each slice starts
    ids, local : uint16 or uint32 (slices[-1],)       results: input of each term; its place among those of its slice
    weights : float32 (slices[-1],), or (0,) where all are the same
    maps : int32 (n_slices + 1,)                      result: where each slice's inputs start; maps[0] is 0
    inputs : int32 (nnz,)                             result: the inputs of all slices
    stamp : int32 (n_inputs,)                         filled with -1
    place : int32 (n_inputs,)
    Returns how many inputs there are of all slices together.
    """
    n_outputs, n_found = indptr.shape[0] - 1, 0
    for slice_ in range(slices.shape[0] - 1):
        begin, first = n_found, slice_ * slice_outputs
        for output in range(first, min(first + slice_outputs, n_outputs)):
            for k in range(indptr[output + 1] - indptr[output]):
                entry = indptr[output] + k
                i = indices[entry]
                if stamp[i] != slice_:
                    stamp[i], place[i], inputs[n_found] = slice_, n_found - begin, i
                    n_found += 1
                at = slices[slice_] + k * slice_outputs + output - first
                ids[at], local[at] = i, place[i]
                if weights.shape[0] > 0:
                    weights[at] = values[entry]
        maps[slice_ + 1] = n_found
    return n_found
