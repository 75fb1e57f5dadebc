"""Packs layers into slices of 16 columns: sliced ELL, with the columns of a slice side by side.

The format is SELL-C-sigma with C = 16 and sigma the whole layer (M. Kreutzer, G. Hager, G. Wellein, H. Fehske, A. R. Bishop, "A
unified sparse matrix data format for efficient general sparse matrix-vector multiplication on modern processors with wide SIMD
units", SIAM J. Sci. Comput. 36(5), 2014), by columns instead of rows. A column's terms keep their ascending order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.column_ordering import first_inputs
from backends.numba_cpu.layout.kernels.slices import (
    ACTIVATIONS_AT,
    COLUMNS,
    FIRST_SLICE,
    N_INPUTS,
    N_OUTPUTS,
    N_SLICES,
    TABLE_WIDTH,
)
from backends.numba_cpu.layout.packing import clamp_of
from backends.numba_cpu.layout.stores import Store
from sparsednn.network import AnyLayer, Layer, identity
from sparsednn.system.memory import require

READ_BEYOND = 64
"""Entries after the last one: kernels load a few at a time."""


class Slices(NamedTuple):
    """All layers, one after the other. Entry k of column c of a slice that starts at e is number ``e + 16 k + c``.

    ids : uint16 or uint32 (entries,)     input neuron; in padding the one after the last, which is zero
    weights : float32 (entries,)          0 in padding
    ends : int64 (n_slices + 1,)          where each slice starts, and the last one ends
    order : int32 (n_slices * 16,)        output neuron of each column; where there is none, the second after the last
    bias : float32 (n_slices * 16 + n,)   of each column; then activations, 4 numbers a column, of layers whose neurons have
                                          their own: in one array, since a call takes longer with each one
    table : int64 (n_layers, 5)           of each layer: inputs, outputs, first slice, slices; where its activations are, or -1
    clamps : float32 (n_layers, 2)        the activation's limits; none where each neuron has its own activation
    """

    ids: NDArray[np.uint16] | NDArray[np.uint32]
    weights: NDArray[np.float32]
    ends: NDArray[np.int64]
    order: NDArray[np.int32]
    bias: NDArray[np.float32]
    table: NDArray[np.int64]
    clamps: NDArray[np.float32]

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self)

    def starts(self) -> dict[str, NDArray[np.int64]]:
        """Return where each layer's part of the arrays starts that have one: int64 (n_layers,)."""
        first = self.table[:, FIRST_SLICE]
        by_entry, by_column = self.ends[first], first * COLUMNS
        return {"ids": by_entry, "weights": by_entry, "order": by_column, "bias": by_column}

    def cuts(self, n_members: int) -> NDArray[np.int64]:
        """Return where the slices of a layer are cut for teams of 1 to `n_members`: each member has equally many entries.

        int64 (n_layers, n_members + 1, n_members + 1): member m of n has slices ``cuts[l, n, m] .. cuts[l, n, m + 1]``.
        """
        cuts = np.zeros((len(self.table), n_members + 1, n_members + 1), np.int64)
        for number, (first, n) in enumerate(self.table[:, [FIRST_SLICE, N_SLICES]]):
            ends = self.ends[first : first + n + 1]
            for size in range(1, n_members + 1):
                wanted = ends[0] + (ends[-1] - ends[0]) * np.arange(size + 1) // size
                cuts[number, size, : size + 1] = first + np.searchsorted(ends, wanted)
                cuts[number, size, size] = first + n
        return cuts


def slice_ids(widest: int) -> type[np.uint16] | type[np.uint32]:
    """Return the type of ids in layers of at most `widest` neurons; one more id is that of padding."""
    return np.uint16 if widest <= np.iinfo(np.uint16).max else np.uint32


def pack_slices(layers: Iterable[AnyLayer], widest: int) -> Slices:
    """Pack layers of at most `widest` neurons before and after.

    Raises
    ------
    MemoryShortageError
        If they do not fit.
    """
    id_type = slice_ids(widest)
    parts = [_pack_layer(layer.expanded(), id_type) for layer in layers]
    n_slices = np.array([len(part.lengths) for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    table = np.zeros((len(parts), TABLE_WIDTH), np.int64)
    table[:, N_INPUTS], table[:, N_OUTPUTS] = [part.n_inputs for part in parts], [part.n_outputs for part in parts]
    table[:, FIRST_SLICE], table[:, N_SLICES] = np.cumsum(n_slices) - n_slices, n_slices
    beyond = np.zeros(READ_BEYOND)
    activations = Store(np.float32)
    for part in parts:
        activations.add(part.activations)
    bias, offsets = np.concatenate([part.bias for part in parts]), activations.offsets()
    table[:, ACTIVATIONS_AT] = np.where(offsets < 0, offsets, offsets + len(bias))
    return Slices(
        ids=np.concatenate([*(part.ids for part in parts), beyond.astype(id_type)]),
        weights=np.concatenate([*(part.weights for part in parts), beyond.astype(np.float32)]),
        ends=np.concatenate([[0], np.cumsum(lengths * COLUMNS)]),
        order=np.concatenate([part.order for part in parts]),
        bias=np.concatenate([bias, activations.array()]),
        table=table,
        clamps=np.array([part.clamp for part in parts], np.float32),
    )


class _PackedLayer(NamedTuple):
    """One layer of `Slices`; lengths has the entries of a column of each slice."""

    n_inputs: int
    n_outputs: int
    ids: Any
    weights: Any
    lengths: NDArray[np.int64]
    order: NDArray[np.int32]
    bias: NDArray[np.float32]
    clamp: tuple[float, float]
    activations: NDArray[np.float32] | None


def _pack_layer(layer: Layer, id_type: type[np.uint16] | type[np.uint32]) -> _PackedLayer:
    """Sort the columns by length, the longest first, and those of one length by their first inputs; pad slices."""
    n = layer.n_outputs
    degrees = np.diff(layer.indptr)
    sorted_columns = np.lexsort([*first_inputs(layer), -degrees])
    n_slices = -(-n // COLUMNS)
    order = np.full(n_slices * COLUMNS, n + 1, np.int32)
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
    bias = np.zeros(n_slices * COLUMNS, np.float32)
    bias[:n] = layer.bias[sorted_columns]
    own = None if layer.activation.is_clamp else _activations(layer, sorted_columns, n_slices)
    return _PackedLayer(layer.n_inputs, n, ids, weights, lengths, order, bias, clamp_of(layer), own)


def _activations(layer: Layer, sorted_columns: NDArray[np.int64], n_slices: int) -> NDArray[np.float32]:
    """Return the activation of each column, flat, as a table has it; a column without an output has the identity."""
    table = identity().table(n_slices * COLUMNS).copy()
    table[: layer.n_outputs] = layer.activation.table(layer.n_outputs)[sorted_columns]
    return table.reshape(-1)
