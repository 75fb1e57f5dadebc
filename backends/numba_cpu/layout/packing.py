"""Packs a network into flat arrays over all layers, which kernels read without Python objects.

Storage is compact: ids of 16 bits where the neurons allow it, one weight for a layer in which all are the same, no column
pointers where all columns are equally long, columns once that repeat, as they are or shifted, and what several layers have in
common once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.column_ordering import stored_rank
from backends.common.positions import entries_at
from backends.common.short_weights import STORED, Weights, narrowed
from backends.numba_cpu.layout.groups import ColumnGroups, column_groups
from backends.numba_cpu.layout.kernels.groups import GROUP
from backends.numba_cpu.layout.neurons import neuron_ids
from backends.numba_cpu.layout.stores import Store, StoreMaker, memory_store
from sparsednn.network import AnyLayer, Network, RepeatedLayer, ShiftedLayer
from sparsednn.system.memory import require


class Connections(NamedTuple):
    """The connections of all layers, sparse or dense; all but `ids` and `weights` are int64, or of the type of `Neurons.order`.

    Sparse by columns, in the order of computation: the output at position q of layer l has the stored column c, which is q or,
    where columns are stored once that repeat (``column_at[l] >= 0``), ``column[column_at[l] + q]``. Its ids start
    ``c * degree[l]`` after ``ids_at[l]`` where all columns have that many, and else (``degree[l] < 0``)
    ``indptr[indptr_at[l] + c]`` after it. Connection k of the layer has weight
    ``weights[weights_at[l] + k * weight_step[l]]``: the step is 0 where all are the same.

    Where columns are also shifted (``offset_at[l] >= 0``), ``offset[offset_at[l] + q]`` is added to the ids of that output, and
    the outputs at the positions before q have ``before[before_at[l] + q]`` connections.

    Where `GROUP` outputs after the other have the same inputs (``n_groups[l] > 0``), the first stored columns are those of so
    many groups, each for the outputs at `GROUP` positions; the others are those of the positions that are left. Connection k of
    the layer, in a group, has the weight ``weights[weights_at[l] + k * GROUP + c]`` for the group's output c; the connections
    after those of groups have one each, which follow. Where all weights are the same, `GROUP` of them are stored.

    Sparse by rows: input i of layer l has connections ``indptr[start[l] + i] ..``.
    Dense: ``weights[start[l] + j * n_inputs + i]``, zeros included.

    ids : uint16 or uint32               the neuron at the other end
    weights : float32; or 16 bits each, as `backends.common.short_weights` stores them
    """

    ids: NDArray[np.uint16] | NDArray[np.uint32]
    weights: Weights
    degree: NDArray[np.int64]
    ids_at: NDArray[np.int64]
    weights_at: NDArray[np.int64]
    weight_step: NDArray[np.int64]
    column: NDArray[np.uint16] | NDArray[np.uint32]
    column_at: NDArray[np.int64]
    indptr: NDArray[np.int64]
    indptr_at: NDArray[np.int64]
    offset: NDArray[np.uint16] | NDArray[np.uint32]
    offset_at: NDArray[np.int64]
    before: NDArray[np.int64]
    before_at: NDArray[np.int64]
    n_groups: NDArray[np.int64]
    start: NDArray[np.int64]


class ColumnPacker:
    """Packs layers by columns, in the order of computation.

    With `one_weight`, a layer whose weights are all the same has it once; else connection k's weight is beside its id. With
    `shifts`, a layer of shifted templates has these once; else it is unrolled. With `grouped`, `groups_of` finds groups of
    outputs with the same inputs; this is for kernels that know them, and have `one_weight`. `weights` is the format in which
    they are stored, unless one a layer is all that there is.
    """

    def __init__(
        self, network: Network, *, one_weight: bool, shifts: bool = False, grouped: bool = False,
        weights: str = "float32", store: StoreMaker = memory_store,
    ) -> None:  # fmt: skip
        self.one_weight, self.shifts, self.grouped = one_weight, shifts, grouped
        self.format = "float32" if one_weight and not _weights_differ(network) else weights
        ids = neuron_ids(network)
        self.ids, self.weights = store("ids", ids), store("weights", STORED[self.format])
        self.column, self.indptr = store("column", ids), store("indptr", np.int64)
        self.offset, self.before = store("offset", ids), Store(np.int64)
        self.degree: list[int] = []
        self.weight_step: list[int] = []
        self.n_groups: list[int] = []

    def groups_of(self, layer: AnyLayer) -> ColumnGroups | None:
        """Return the groups in which a layer is best added, if any."""
        return column_groups(layer) if self.grouped else None

    def add_groups(self, groups: ColumnGroups) -> None:
        """Add a layer in groups, whose outputs are computed in their order."""
        degrees = np.diff(groups.indptr)
        even = bool((degrees == degrees[0]).all())
        self.ids.add(groups.indices)
        self.weights.add(narrowed(groups.weights, self.format))
        self.weight_step.append(0 if groups.one_weight else 1)
        self.degree.append(int(degrees[0]) if even else -1)
        self.indptr.add(None if even else groups.indptr)
        self.n_groups.append(groups.n_groups)
        for none in (self.column, self.offset, self.before):
            none.add(None)

    def add(self, layer: AnyLayer, stored: NDArray[np.int64] | None) -> None:
        """Add a layer; `stored` is the order in which its distinct columns are stored (None: as they are)."""
        shifted = layer if self.shifts and isinstance(layer, ShiftedLayer) else None
        distinct, column = layer.distinct() if shifted is None else (shifted.templates(), shifted.template)
        indices, values = distinct.indices, distinct.values
        degrees = np.diff(distinct.indptr)
        degree = int(degrees[0]) if len(degrees) and (degrees == degrees[0]).all() else -1
        uniform = len(values) > 0 and (values.strides == (0,) or bool((values == values[0]).all()))
        if stored is not None and degree >= 0 and uniform:
            indices = indices.reshape(-1, degree)[stored].reshape(-1)
        elif stored is not None:
            at = entries_at(distinct.indptr[stored], distinct.indptr[stored + 1])
            indices, values, degrees = indices[at], values if uniform else values[at], degrees[stored]
        together = b"" if self.one_weight else values.tobytes()
        self.ids.add(indices, together)
        once = uniform and self.one_weight
        weights = narrowed(values[:1] if once else values, self.format)
        self.weights.add(weights, b"" if self.one_weight else np.asarray(indices).tobytes())
        self.weight_step.append(0 if once else 1)
        self.degree.append(degree)
        self.indptr.add(None if degree >= 0 else np.concatenate([[0], np.cumsum(degrees)]))
        self.column.add(None if column is None else _column_at_position(column, stored))
        self.offset.add(None if shifted is None else shifted.offset)
        self.before.add(None if shifted is None else shifted.indptr)
        self.n_groups.append(0)

    def pack(self) -> Connections:
        """Return what has been collected."""
        return Connections(
            ids=self.ids.array(),
            weights=self.weights.array(),
            degree=np.array(self.degree, np.int64),
            ids_at=self.ids.offsets(),
            weights_at=self.weights.offsets(),
            weight_step=np.array(self.weight_step, np.int64),
            column=self.column.array(),
            column_at=self.column.offsets(),
            indptr=self.indptr.array(),
            indptr_at=self.indptr.offsets(),
            offset=self.offset.array(),
            offset_at=self.offset.offsets(),
            before=self.before.array(),
            before_at=self.before.offsets(),
            n_groups=np.array(self.n_groups, np.int64),
            start=np.zeros(0, np.int64),
        )


def _weights_differ(network: Network) -> bool:
    """Whether a layer has two weights that differ."""
    for layer in network.layers:
        if not isinstance(layer, RepeatedLayer):
            values = layer.weights if isinstance(layer, ShiftedLayer) else layer.values
            if values.strides != (0,) and len(values) and (values != values[0]).any():
                return True
    return False


def _column_at_position(column: NDArray[np.int32], stored: NDArray[np.int64] | None) -> NDArray[np.integer]:
    """The stored column of the output at each position: as given, or one after the other."""
    return column if stored is None else np.sort(stored_rank(stored)[column])


def column_spans(conn: Connections, layer: int, n_outputs: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the ids of a layer's outputs start, in the order of computation, and how many each has; unshifted."""
    column, n_groups = np.arange(n_outputs), int(conn.n_groups[layer])
    column = np.where(column < GROUP * n_groups, column // GROUP, column - (GROUP - 1) * n_groups)
    if conn.column_at[layer] >= 0:
        column = conn.column[conn.column_at[layer] + column].astype(np.int64)
    if conn.degree[layer] >= 0:
        return conn.ids_at[layer] + column * conn.degree[layer], np.full(n_outputs, conn.degree[layer])
    ends = conn.indptr[conn.indptr_at[layer] :]
    return conn.ids_at[layer] + ends[column], ends[column + 1] - ends[column]


class RowPacker:
    """Packs layers by rows: the connections that leave each input neuron."""

    def __init__(self, network: Network, store: StoreMaker = memory_store) -> None:
        self.ids, self.weights = store("ids", neuron_ids(network)), store("weights", np.float32)
        self.ends: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self.start = [0]

    def add(self, layer: AnyLayer, stored: NDArray[np.int64] | None) -> None:
        """Add a layer; rows have an order of their own."""
        rows = layer.to_scipy().tocsr()
        self.ids.append(rows.indices)
        self.weights.append(rows.data)
        self.ends.append(rows.indptr[1:] + self.ends[-1][-1])
        self.start.append(self.start[-1] + layer.n_inputs)

    def pack(self) -> Connections:
        """Return what has been collected."""
        return _without_columns(
            ids=self.ids.array(),
            weights=self.weights.array(),
            indptr=np.concatenate(self.ends),
            start=np.array(self.start, np.int64),
        )


class DensePacker:
    """Stores every layer as a dense matrix, column by column; there are no ids, but their type is that of `ColumnPacker`.

    The matrices are filled where they are to stay, in memory, so no `store` is used.
    """

    def __init__(self, network: Network, store: StoreMaker = memory_store) -> None:
        self.ids = neuron_ids(network)
        sizes = [layer.n_inputs * layer.n_outputs for layer in network.layers]
        require(4 * sum(sizes), f"storing {len(sizes)} layers dense", "use a kernel with sparse layers (kernel=udc_csc)")
        self.weights = np.zeros(sum(sizes), np.float32)
        self.start = [0]

    def add(self, layer: AnyLayer, stored: NDArray[np.int64] | None) -> None:
        """Add a layer; all inputs of a column are there in their order."""
        full = layer.expanded()
        columns = np.repeat(np.arange(layer.n_outputs), np.diff(full.indptr))
        self.weights[self.start[-1] + columns * layer.n_inputs + full.indices] = full.values
        self.start.append(self.start[-1] + layer.n_inputs * layer.n_outputs)

    def pack(self) -> Connections:
        """Return what has been collected."""
        return _without_columns(
            ids=np.empty(0, self.ids),
            weights=self.weights,
            indptr=np.zeros(1, np.int64),
            start=np.array(self.start, np.int64),
        )


Packer = ColumnPacker | RowPacker | DensePacker


def _without_columns(*, ids: Any, weights: Any, indptr: NDArray[np.int64], start: NDArray[np.int64]) -> Connections:
    """Connections without what only storage by sparse columns has."""
    absent = dict.fromkeys(("column", "offset"), np.zeros(0, ids.dtype))
    only_columns = "degree ids_at weights_at weight_step column_at indptr_at offset_at before before_at n_groups"
    none: dict[str, Any] = dict.fromkeys(only_columns.split(), np.zeros(0, np.int64)) | absent
    return Connections(ids=ids, weights=weights, indptr=indptr, start=start, **none)
