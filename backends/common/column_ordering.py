"""Orders the columns of a layer for storage, and its outputs for computation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsednn.network import AnyLayer, Layer, ShiftedLayer

KEYS, NUMBER_BITS = 3, 63
"""First inputs that columns are sorted by, and the bits of a number that may hold them together."""


def computing_order(layer: AnyLayer, order: str) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Return the order in which a layer's distinct columns are stored, and the one in which its outputs are computed.

    None is the order they have. "shared_inputs" sorts columns by their first inputs, so that columns that share inputs find
    them in the cache. Columns of a `ShiftedLayer` are as they are: neighbours in an image share inputs already.
    """
    if order == "given" or isinstance(layer, ShiftedLayer):
        return None, None
    distinct, column = layer.distinct()
    stored = _by_first_inputs(distinct)
    if column is None:
        return stored, stored
    return stored, np.argsort(stored_rank(stored)[column], kind="stable")


def stored_rank(stored: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each distinct column is stored."""
    rank = np.empty(len(stored), np.int64)
    rank[stored] = np.arange(len(stored))
    return rank


def _by_first_inputs(layer: Layer) -> NDArray[np.int64]:
    """Columns sorted by their first inputs; equal ones stay in their order."""
    keys, key_bits = first_inputs(layer), layer.n_inputs.bit_length()
    number_bits = max(layer.n_outputs - 1, 0).bit_length()
    if KEYS * key_bits > NUMBER_BITS:
        return np.lexsort(keys)
    together = np.zeros(layer.n_outputs, np.int64)
    for place, key in enumerate(keys):
        together += (key + 1) << (key_bits * place)
    if KEYS * key_bits + number_bits <= NUMBER_BITS:  # with the columns' numbers, which then need no sort of their own
        return np.sort(together << number_bits | np.arange(layer.n_outputs)) & ((1 << number_bits) - 1)
    order = np.argsort(together)
    ascending = together[order]
    return order if (ascending[:-1] < ascending[1:]).all() else np.argsort(together, kind="stable")


def first_inputs(layer: Layer) -> list[NDArray[np.int64]]:
    """Return the first inputs of every column as sort keys, the least important first; each int64, shape (n_outputs,)."""
    return [nth_input(layer, n) for n in reversed(range(KEYS))]


def nth_input(layer: Layer, n: int) -> NDArray[np.int64]:
    """Return the n-th input of every column; -1 where it has fewer."""
    at = layer.indptr[:-1] + n
    has = at < layer.indptr[1:]
    if has.all():
        return layer.indices.take(at).astype(np.int64)
    found = np.full(layer.n_outputs, -1, np.int64)
    found[has] = layer.indices[at[has]]
    return found
