"""Packs layers by rows, for one instance of which few activations are alive: each input with the outputs that it adds to.

As EIE does (S. Han et al., "EIE: Efficient Inference Engine on Compressed Deep Neural Network", ISCA 2016, section 3), but with
ascending inputs, and in parts that threads take: a part has the columns of some slices of `backends.numba_cpu.layout.slices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.numba_cpu.layout.kernels.slices import COLUMNS, FIRST_SLICE, N_SLICES
from backends.numba_cpu.layout.slices import Slices
from sparsednn.network import AnyLayer
from sparsednn.system.memory import require


class EventRows(NamedTuple):
    """All layers, one after the other, and of a layer part after part.

    Input j of a layer l has in part p the connections ``starts[at] .. starts[at + 1]``, with
    ``at = starts_at[l] + p * (n_inputs + 1) + j``.

    targets : uint16 or uint32 (connections,)     column, counted from the first one of the part, in the order of `Slices`
    weights : float32 (connections,)
    starts : int64 (entries,)
    starts_at : int64 (n_layers,)
    """

    targets: NDArray[np.uint16] | NDArray[np.uint32]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]
    starts_at: NDArray[np.int64]

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self)


def no_rows(slices: Slices) -> EventRows:
    """Return what stands for rows that are not packed."""
    none = np.zeros(0, np.int64)
    return EventRows(np.zeros(0, slices.ids.dtype), np.zeros(0, np.float32), none, none)


def are_ascending(layers: Sequence[AnyLayer]) -> bool:
    """Whether all columns add their terms in ascending order of the inputs, as rows do; merged columns need not."""
    for layer in layers:
        full = layer.expanded()
        ascends = np.diff(full.indices) > 0
        ends = full.indptr[1:-1]
        ascends[ends[(ends > 0) & (ends < full.nnz)] - 1] = True
        if not ascends.all():
            return False
    return True


def pack_rows(layers: Sequence[AnyLayer], slices: Slices, n_parts: int) -> EventRows:
    """Pack the layers that were packed in slices.

    Raises
    ------
    MemoryShortageError
        If they do not fit.
    """
    connections = sum(layer.nnz for layer in layers)
    n_starts = sum(n_parts * (layer.n_inputs + 1) for layer in layers)
    item = slices.ids.dtype.itemsize + 4
    largest = max(layer.nnz for layer in layers)
    require(
        item * connections + 8 * n_starts + 24 * largest, "packing the layers by rows", "use larger batches, or fewer layers"
    )
    targets, weights = np.empty(connections, slices.ids.dtype), np.empty(connections, np.float32)
    starts, starts_at = np.empty(n_starts, np.int64), np.empty(len(layers), np.int64)
    cuts = slices.cuts(n_parts)[:, n_parts]
    filled = at = 0
    for number, layer in enumerate(layers):
        starts_at[number] = at
        rows = _by_positions(layer, slices, number)
        for first, last in zip(cuts[number, :-1] * COLUMNS, cuts[number, 1:] * COLUMNS, strict=True):
            base = slices.table[number, FIRST_SLICE] * COLUMNS
            part = rows[:, first - base : last - base].tocsr()
            starts[at : at + layer.n_inputs + 1] = part.indptr.astype(np.int64) + filled
            targets[filled : filled + part.nnz], weights[filled : filled + part.nnz] = part.indices, part.data
            at += layer.n_inputs + 1
            filled += part.nnz
    return EventRows(targets, weights, starts, starts_at)


def _by_positions(layer: AnyLayer, slices: Slices, number: int) -> sp.csc_array:
    """Return a layer's weights with the columns in the order of its slices, and none where a slice has no column."""
    base, n = slices.table[number, FIRST_SLICE] * COLUMNS, slices.table[number, N_SLICES] * COLUMNS
    order = slices.order[base : base + n]
    ends = np.zeros(n + 1, np.int64)
    full = layer.expanded()
    position = np.empty(layer.n_outputs, np.int64)
    used = np.flatnonzero(order < layer.n_outputs)
    position[order[used]] = used
    degrees = np.diff(full.indptr)
    ends[1 + position] = degrees
    np.cumsum(ends, out=ends)
    by_position = np.argsort(position, kind="stable")
    entries = np.repeat(full.indptr[by_position] - ends[position[by_position]], degrees[by_position]) + np.arange(layer.nnz)
    return sp.csc_array((np.asarray(full.values)[entries], full.indices[entries], ends), shape=(layer.n_inputs, n))
