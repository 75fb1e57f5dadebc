"""Packs a network into flat arrays over all layers, which kernels read without Python objects.

Storage is compact: ids of 16 bits where the neurons allow it, one weight for a layer in which all are the same, no column
pointers where all columns are equally long, columns once that repeat, as they are or shifted, and what several layers have in
common once.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from backends.common.column_ordering import stored_rank
from backends.common.positions import entries_at
from backends.numba_cpu.layout.stores import Store
from sparsednn.network import AnyLayer, Network, ShiftedLayer
from sparsednn.system.memory import require


class Neurons(NamedTuple):
    """The widths, biases, activations and order of all neurons, in every format. Layer l has ``widths[l + 1]`` outputs.

    widths : int64 (n_layers + 1,)       neurons before the first layer and after each one
    order : uint16 or uint32             layer l's outputs in the order they are computed, from ``order_at[l]`` on
    bias : float32                       added to a nonzero sum; of layer l from ``bias_at[l]`` on
    order_at, bias_at : int64 (n_layers,)
    bias_always : bool                   the bias is added to a sum of zero too
    low, high : float32 (n_layers,)      the activation clamps to this range; where neurons have their own, to all numbers
    activations : float32                those layers' activations, 4 numbers a neuron; of layer l from ``activations_at[l]`` on
    activations_at : int64 (n_layers,)   -1 where all neurons have one clamp
    zeros_stay : bool (n_layers + 1,)    a row of zeros before the layer is one after the last layer
    full_stays : bool (n_layers + 1,)    a row with every neuron at its maximum before the layer is one after the last layer
    high_bits : int32 (n_layers,)        bits of `high`
    full_sum : float64 (1,)              sum of such a row after the last layer
    last : int32 (n_outputs,)            for each of the network's outputs, the last layer's output that stands for it
    """

    widths: NDArray[np.int64]
    order: NDArray[np.uint16] | NDArray[np.uint32]
    bias: NDArray[np.float32]
    order_at: NDArray[np.int64]
    bias_at: NDArray[np.int64]
    bias_always: bool
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    activations: NDArray[np.float32]
    activations_at: NDArray[np.int64]
    zeros_stay: NDArray[np.bool_]
    full_stays: NDArray[np.bool_]
    high_bits: NDArray[np.int32]
    full_sum: NDArray[np.float64]
    last: NDArray[np.int32]


class Connections(NamedTuple):
    """The connections of all layers, sparse or dense; all but `ids` and `weights` are int64, or those of `Neurons.order`.

    Sparse by columns, in the order of computation: the output at position q of layer l has the stored column c, which is q or,
    where columns are stored once that repeat (``column_at[l] >= 0``), ``column[column_at[l] + q]``. Its ids start
    ``c * degree[l]`` after ``ids_at[l]`` where all columns have that many, and else (``degree[l] < 0``)
    ``indptr[indptr_at[l] + c]`` after it. Connection k of the layer has weight
    ``weights[weights_at[l] + k * weight_step[l]]``: the step is 0 where all are the same.

    Where columns are also shifted (``offset_at[l] >= 0``), ``offset[offset_at[l] + q]`` is added to the ids of that output, and
    the outputs at the positions before q have ``before[before_at[l] + q]`` connections.

    Sparse by rows: input i of layer l has connections ``indptr[start[l] + i] ..``.
    Dense: ``weights[start[l] + j * n_inputs + i]``, zeros included.

    ids : uint16 or uint32               the neuron at the other end
    weights : float32
    """

    ids: NDArray[np.uint16] | NDArray[np.uint32]
    weights: NDArray[np.float32]
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
    start: NDArray[np.int64]


class StoreMaker(Protocol):
    """Makes the store of an array, by its name."""

    def __call__(self, name: str, dtype: Any) -> Store:
        """Return an empty store of a dtype."""


def memory_store(name: str, dtype: Any) -> Store:
    """Return a store in memory."""
    return Store(dtype)


def small_ids(largest: int) -> type[np.uint16] | type[np.uint32]:
    """Return the smallest index type that holds `largest`. Unsigned: a signed index would be checked for being negative."""
    return np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32


def neuron_ids(network: Network) -> type[np.uint16] | type[np.uint32]:
    """Return the smallest index type that holds every neuron's id."""
    return small_ids(max(network.n_inputs, *(layer.n_outputs for layer in network.layers)) - 1)


def clamp_of(layer: AnyLayer) -> tuple[float, float]:
    """Return the limits that end a layer's sums: none where each neuron has an activation of its own, which comes after."""
    return (layer.activation.low, layer.activation.high) if layer.activation.is_clamp else (-np.inf, np.inf)


class NeuronPacker:
    """Collects widths, biases, activations and the order of computation, layer by layer."""

    def __init__(self, network: Network, store: StoreMaker = memory_store) -> None:
        self.network = network
        self.widths = [network.n_inputs]
        self.clamps: list[tuple[float, float]] = []
        self.order, self.bias = store("order", neuron_ids(network)), Store(np.float32)
        self.activations = Store(np.float32)

    def add(self, layer: AnyLayer, order: NDArray[np.integer] | None) -> None:
        """Add a layer whose outputs are computed in an order (None: as they are)."""
        self.widths.append(layer.n_outputs)
        self.clamps.append(clamp_of(layer))
        self.activations.add(None if layer.activation.is_clamp else layer.activation.table(layer.n_outputs).reshape(-1))
        self.order.add(np.arange(layer.n_outputs) if order is None else order)
        self.bias.add(layer.bias)

    def pack(self, full_stays: NDArray[np.bool_], last: NDArray[np.int32]) -> Neurons:
        """Return what has been collected."""
        low, high = np.array(self.clamps, np.float32).T.copy()
        full = np.full(len(last), high[-1] if full_stays[-1] else 0, np.float64)
        return Neurons(
            widths=np.array(self.widths, np.int64),
            order=self.order.array(),
            bias=self.bias.array(),
            order_at=self.order.offsets(),
            bias_at=self.bias.offsets(),
            bias_always=self.network.bias_on == "all",
            low=low,
            high=high,
            activations=self.activations.array(),
            activations_at=self.activations.offsets(),
            zeros_stay=np.append(self.network.zero_rows_stay_zero(), True),
            full_stays=full_stays,
            high_bits=high.view(np.int32),
            full_sum=np.add.accumulate(full)[-1:],  # added one by one, as kernels do
            last=last,
        )


class ColumnPacker:
    """Packs layers by columns, in the order of computation.

    With `one_weight`, a layer whose weights are all the same has it once; else connection k's weight is beside its id. With
    `shifts`, a layer of shifted templates has these once; else it is unrolled.
    """

    def __init__(self, network: Network, *, one_weight: bool, shifts: bool = False, store: StoreMaker = memory_store) -> None:
        self.one_weight, self.shifts = one_weight, shifts
        ids = neuron_ids(network)
        self.ids, self.weights = store("ids", ids), store("weights", np.float32)
        self.column, self.indptr = store("column", ids), store("indptr", np.int64)
        self.offset, self.before = store("offset", ids), Store(np.int64)
        self.degree: list[int] = []
        self.weight_step: list[int] = []

    def add(self, layer: AnyLayer, stored: NDArray[np.int64] | None) -> None:
        """Add a layer; `stored` is the order in which its distinct columns are stored (None: as they are)."""
        shifted = layer if self.shifts and isinstance(layer, ShiftedLayer) else None
        distinct, column = layer.distinct() if shifted is None else (shifted.templates(), shifted.template)
        indices, values = distinct.indices, distinct.values
        degrees = np.diff(distinct.indptr)
        degree = int(degrees[0]) if len(degrees) and (degrees == degrees[0]).all() else -1
        uniform = len(values) > 0 and bool((values == values[0]).all())
        if stored is not None:
            at = entries_at(distinct.indptr[stored], distinct.indptr[stored + 1])
            indices, values, degrees = indices[at], values if uniform else values[at], degrees[stored]
        together = b"" if self.one_weight else values.tobytes()
        self.ids.add(indices, together)
        once = uniform and self.one_weight
        self.weights.add(values[:1] if once else values, b"" if self.one_weight else np.asarray(indices).tobytes())
        self.weight_step.append(0 if once else 1)
        self.degree.append(degree)
        self.indptr.add(None if degree >= 0 else np.concatenate([[0], np.cumsum(degrees)]))
        self.column.add(None if column is None else _column_at_position(column, stored))
        self.offset.add(None if shifted is None else shifted.offset)
        self.before.add(None if shifted is None else shifted.indptr)

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
            start=np.zeros(0, np.int64),
        )


def _column_at_position(column: NDArray[np.int32], stored: NDArray[np.int64] | None) -> NDArray[np.integer]:
    """The stored column of the output at each position: as given, or one after the other."""
    return column if stored is None else np.sort(stored_rank(stored)[column])


def column_spans(conn: Connections, layer: int, n_outputs: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the ids of a layer's outputs start, in the order of computation, and how many each has; unshifted."""
    column = np.arange(n_outputs)
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
    only_columns = "degree ids_at weights_at weight_step column_at indptr_at offset_at before before_at"
    none: dict[str, Any] = dict.fromkeys(only_columns.split(), np.zeros(0, np.int64)) | absent
    return Connections(ids=ids, weights=weights, indptr=indptr, start=start, **none)
