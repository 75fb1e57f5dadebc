"""Packs layers into slices of 16 columns: sliced ELL, with the columns of a slice side by side.

The format is SELL-C-sigma with C = 16 and sigma the whole layer (M. Kreutzer, G. Hager, G. Wellein, H. Fehske, A. R. Bishop, "A
unified sparse matrix data format for efficient general sparse matrix-vector multiplication on modern processors with wide SIMD
units", SIAM J. Sci. Comput. 36(5), 2014), by columns instead of rows. A column's terms keep their ascending order. Slices of
layers whose columns repeat shifted are stored once: see `backends.numba_cpu.layout.shifted_slices`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.column_ordering import first_inputs
from backends.common.short_weights import Weights, narrowed
from backends.numba_cpu.layout.kernels.slices import (
    ACTIVATIONS_AT,
    COLUMNS,
    ENTRIES_AT,
    FIRST_ENTRY,
    FIRST_SLICE,
    N_INPUTS,
    N_OUTPUTS,
    N_SLICES,
    N_TERMS,
    N_ZEROS,
    SHIFT,
    TABLE_WIDTH,
    TERMS,
)
from backends.numba_cpu.layout.neurons import clamp_of
from backends.numba_cpu.layout.shifted_slices import NONE, filled, same_terms, shared_slices
from backends.numba_cpu.layout.stores import Store
from sparsednn.network import AnyLayer, Layer, ShiftedLayer, identity
from sparsednn.system.memory import require

READ_BEYOND = 64
"""Entries after the last one: kernels load a few at a time."""


class Slices(NamedTuple):
    """All layers, one after the other. Entry k of column c of a slice whose entries start at e is number ``e + 16 k + c``.

    ids : uint16 or uint32 (entries,)     input neuron, less the slice's shift; in padding the one after the last, which is zero
    weights : float32 (entries,)          0 in padding; or 16 bits each, as `backends.common.short_weights` stores them
    parts : int64 (n_slices, 4)           of each slice: where its entries start, the terms of a column, its shift, and of how
                                          many terms, from the first on, all columns have one input
    order : int32 (n_slices * 16,)        output neuron of each column; where there is none, the one after the rows of zeros
    bias : float32 (n_slices * 16 + n,)   of each column; then activations, 4 numbers a column, of layers whose neurons have
                                          their own: in one array, since a call takes longer with each one
    table : int64 (n_layers, 8)           of each layer: inputs, outputs, first slice, slices; where its activations are, or -1;
                                          where its entries start, the terms of all slices; rows of zeros after its inputs
    clamps : float32 (n_layers, 2)        the activation's limits; none where each neuron has its own activation
    """

    ids: NDArray[np.uint16] | NDArray[np.uint32]
    weights: Weights
    parts: NDArray[np.int64]
    order: NDArray[np.int32]
    bias: NDArray[np.float32]
    table: NDArray[np.int64]
    clamps: NDArray[np.float32]

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self)

    @property
    def n_rows(self) -> int:
        """Rows of activations before or after a layer: neurons, zeros, and one more that columns without an output write."""
        before = self.table[:, N_INPUTS] + self.table[:, N_ZEROS]
        after = self.table[:, N_OUTPUTS] + np.append(self.table[1:, N_ZEROS], 1)
        return int(max(before.max(), after.max())) + 1

    @property
    def has_shifts(self) -> bool:
        """Whether a slice is used at several places."""
        return bool(self.parts[:, SHIFT].any())

    def starts(self) -> dict[str, NDArray[np.int64]]:
        """Return where each layer's part of the arrays starts that have one: int64 (n_layers,)."""
        by_entry, by_column = self.table[:, FIRST_ENTRY].copy(), self.table[:, FIRST_SLICE] * COLUMNS
        return {"ids": by_entry, "weights": by_entry, "order": by_column, "bias": by_column}

    def cuts(self, n_members: int) -> NDArray[np.int64]:
        """Return where the slices of a layer are cut for teams of 1 to `n_members`: each member has equally many entries.

        int64 (n_layers, n_members + 1, n_members + 1): member m of n has slices ``cuts[l, n, m] .. cuts[l, n, m + 1]``.
        """
        cuts = np.zeros((len(self.table), n_members + 1, n_members + 1), np.int64)
        for number, (first, n) in enumerate(self.table[:, [FIRST_SLICE, N_SLICES]]):
            ends = np.concatenate([[0], np.cumsum(self.parts[first : first + n, TERMS])])
            for size in range(1, n_members + 1):
                wanted = ends[-1] * np.arange(size + 1) // size
                cuts[number, size, : size + 1] = first + np.searchsorted(ends, wanted)
                cuts[number, size, size] = first + n
        return cuts


def slice_ids(widest: int) -> type[np.uint16] | type[np.uint32]:
    """Return the type of ids in layers of at most `widest` neurons; one more id is that of padding."""
    return np.uint16 if widest <= np.iinfo(np.uint16).max else np.uint32


def pack_slices(layers: Iterable[AnyLayer], widest: int, weights: str = "float32") -> Slices:
    """Pack layers of at most `widest` neurons before and after, with weights stored in a format that they are rounded to.

    Raises
    ------
    MemoryShortageError
        If they do not fit.
    """
    id_type = slice_ids(widest)
    parts = [
        _pack_shifted(one, id_type) if isinstance(one, ShiftedLayer) else _pack_layer(one.expanded(), id_type) for one in layers
    ]
    n_slices, n_entries = np.array([len(part.parts) for part in parts]), np.array([len(part.ids) for part in parts])
    table = np.zeros((len(parts), TABLE_WIDTH), np.int64)
    table[:, N_INPUTS], table[:, N_OUTPUTS] = [part.n_inputs for part in parts], [part.n_outputs for part in parts]
    table[:, FIRST_SLICE], table[:, N_SLICES] = np.cumsum(n_slices) - n_slices, n_slices
    table[:, FIRST_ENTRY] = np.cumsum(n_entries) - n_entries
    table[:, N_TERMS], table[:, N_ZEROS] = [part.parts[:, TERMS].sum() for part in parts], [part.n_zeros for part in parts]
    beyond = np.zeros(READ_BEYOND)
    activations = Store(np.float32)
    for part in parts:
        activations.add(part.activations)
    bias, offsets = np.concatenate([part.bias for part in parts]), activations.offsets()
    table[:, ACTIVATIONS_AT] = np.where(offsets < 0, offsets, offsets + len(bias))
    empty = table[:, N_OUTPUTS] + np.append(table[1:, N_ZEROS], 1)
    return Slices(
        ids=np.concatenate([*(part.ids for part in parts), beyond.astype(id_type)]),
        weights=np.concatenate([narrowed(some, weights) for some in (*(part.weights for part in parts), beyond)]),
        parts=np.concatenate([_moved(part.parts, at) for part, at in zip(parts, table[:, FIRST_ENTRY], strict=True)]),
        order=np.concatenate(
            [np.where(part.order < 0, at, part.order) for part, at in zip(parts, empty, strict=True)], dtype=np.int32
        ),
        bias=np.concatenate([bias, activations.array()]),
        table=table,
        clamps=np.array([part.clamp for part in parts], np.float32),
    )


def _moved(parts: NDArray[np.int64], at: int) -> NDArray[np.int64]:
    """Slices whose entries start `at` further on."""
    moved = parts.copy()
    moved[:, ENTRIES_AT] += at
    return moved


class _PackedLayer(NamedTuple):
    """One layer of `Slices`; `parts` count from its first entry, `order` is -1 where a column has no output."""

    n_inputs: int
    n_outputs: int
    ids: Any
    weights: Any
    parts: NDArray[np.int64]
    order: NDArray[np.int32]
    bias: NDArray[np.float32]
    clamp: tuple[float, float]
    activations: NDArray[np.float32] | None
    n_zeros: int = 1


def _pack_layer(layer: Layer, id_type: type[np.uint16] | type[np.uint32]) -> _PackedLayer:
    """Sort the columns by length, the longest first, and those of one length by their first inputs; pad slices."""
    n = layer.n_outputs
    degrees = np.diff(layer.indptr)
    sorted_columns = np.lexsort([*first_inputs(layer), -degrees])
    n_slices = -(-n // COLUMNS)
    order = np.full(n_slices * COLUMNS, NONE, np.int32)
    order[:n] = sorted_columns
    padded = np.zeros(n_slices * COLUMNS, np.int64)
    padded[:n] = degrees[sorted_columns]
    lengths = padded.reshape(n_slices, COLUMNS).max(axis=1, initial=0)
    starts = np.cumsum(lengths) * COLUMNS - lengths * COLUMNS
    n_entries = int(lengths.sum()) * COLUMNS
    item = np.dtype(id_type).itemsize + 4
    require(2 * item * n_entries + 24 * layer.nnz, f"packing {n_entries:,} more entries of a layer", "use fewer layers")
    ids, weights = np.full(n_entries, layer.n_inputs, id_type), np.zeros(n_entries, np.float32)
    position = np.empty(n, np.int64)
    position[sorted_columns] = np.arange(n)
    column = np.repeat(np.arange(n), degrees)
    term = np.arange(layer.nnz) - np.repeat(layer.indptr[:-1], degrees)
    place = position[column]
    at = starts[place // COLUMNS] + term * COLUMNS + place % COLUMNS
    ids[at], weights[at] = layer.indices, layer.values
    parts = np.stack([starts, lengths, np.zeros(n_slices, np.int64), same_terms(ids, lengths)], axis=1)
    return _PackedLayer(layer.n_inputs, n, ids, weights, parts, order, *_of_columns(layer, order))


def _pack_shifted(layer: ShiftedLayer, id_type: type[np.uint16] | type[np.uint32]) -> _PackedLayer:
    """Store slices once that differ in their shift only."""
    groups = list(shared_slices(layer))
    n_entries, item = sum(group.n_entries for group in groups), np.dtype(id_type).itemsize + 4
    require(2 * (item + 40) * n_entries, f"packing {n_entries:,} more entries of a layer", "use fewer layers")
    each = [filled(layer, group) for group in groups]
    first = np.cumsum([0, *(group.n_entries for group in groups)])
    order = np.concatenate([group.outputs.reshape(-1) for group in groups])
    return _PackedLayer(
        layer.n_inputs,
        layer.n_outputs,
        np.concatenate([one.ids.astype(id_type) for one in each]),
        np.concatenate([one.weights for one in each]),
        np.concatenate([_moved(one.parts, at) for one, at in zip(each, first, strict=False)]),
        order,
        *_of_columns(layer, order),
        n_zeros=max(one.n_zeros for one in each),
    )


def _of_columns(layer: Layer | ShiftedLayer, order: NDArray[np.int32]) -> tuple[Any, tuple[float, float], Any]:
    """Biases of the columns, the layer's clamp, and the activation of each column, flat; without an output the identity."""
    there = order >= 0
    bias = np.zeros(len(order), np.float32)
    bias[there] = layer.bias[order[there]]
    if layer.activation.is_clamp:
        return bias, clamp_of(layer), None
    table = identity().table(len(order)).copy()
    table[there] = layer.activation.table(layer.n_outputs)[order[there]]
    return bias, clamp_of(layer), table.reshape(-1)
