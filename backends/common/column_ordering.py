"""Orders the columns of a layer for storage, and its outputs for computation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsednn.network import AnyLayer, Layer, ShiftedLayer

KEYS, KEY_BITS = 3, 21
"""First inputs that columns are sorted by, and the bits that each has where all are in one number."""


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
    keys = first_inputs(layer)
    if layer.n_inputs >= 2**KEY_BITS - 1:
        return np.lexsort(keys)
    together = np.sum([(key + 1) << (KEY_BITS * place) for place, key in enumerate(keys)], axis=0)
    order = np.argsort(together)
    ascending = together[order]
    return order if (ascending[:-1] < ascending[1:]).all() else np.argsort(together, kind="stable")


def first_inputs(layer: Layer) -> list[NDArray[np.int64]]:
    """Return the first inputs of every column as sort keys, the least important first; each int64, shape (n_outputs,)."""
    return [_nth_input(layer, n) for n in reversed(range(KEYS))]


def _nth_input(layer: Layer, n: int) -> NDArray[np.int64]:
    """The n-th input of every column; -1 where it has fewer."""
    at = layer.indptr[:-1] + n
    has = at < layer.indptr[1:]
    found = np.full(layer.n_outputs, -1, np.int64)
    found[has] = layer.indices[at[has]]
    return found
