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


@kernel
def quads_share(indptr, indices, n_together):
    """Say whether outputs that lie together, some at a time, have the same inputs in the same order.

    indptr : int64 (n_outputs + 1,), indices : int32 (nnz,)   the layer, in CSC
    n_together : int
    """
    for output in range(indptr.shape[0] - 1):
        first = indptr[output - output % n_together]
        begin, n = indptr[output], indptr[output + 1] - indptr[output]
        if indptr[output - output % n_together + 1] - first != n:
            return False
        for k in range(n):
            if indices[first + k] != indices[begin + k]:
                return False
    return True


@kernel
def fill_quads(slices, local, weights, n_together, slice_outputs, input_bytes, quad_slices, ids, quad_weights):
    """Put the terms of slices of which some outputs at a time have the same inputs one after the other, for each of these.

    slices : int64 (n_slices + 1,)                    where each slice starts
    local : uint16 or uint32 (slices[-1],)            place of each term's input among those of its slice
    weights : float32 (slices[-1],), or (0,) where all are the same
    n_together, slice_outputs : int                   outputs that have the same inputs, and of a slice
    input_bytes : int                                 bytes of a staged input
    quad_slices : int64 (n_slices + 1,)               where each slice starts in `ids`
    ids : uint32 (quad_slices[-1],)                   result: bytes from the first staged input, of each term
    quad_weights : float32 (n_together * quad_slices[-1],), or (0,)      result
    """
    n_quads = slice_outputs // n_together
    for slice_ in range(slices.shape[0] - 1):
        n_terms = (slices[slice_ + 1] - slices[slice_]) // slice_outputs
        step = (quad_slices[slice_ + 1] - quad_slices[slice_]) // n_quads
        for quad in range(n_quads):
            for k in range(n_terms):
                at, to = slices[slice_] + k * slice_outputs + quad * n_together, quad_slices[slice_] + quad * step + k
                ids[to] = local[at] * input_bytes
                if weights.shape[0] > 0:
                    for r in range(n_together):
                        quad_weights[n_together * to + r] = weights[at + r]
