"""A network as flat arrays, one after the other for all layers: what kernels can read without a Python object in sight."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsednn.memory import require
from sparsednn.network import AnyLayer, Layer, Network

SKEW_SHIFT = 6
"""Blocks leave one row free after every 64: rows a power of two apart would otherwise fall into the same few cache sets."""

SHARED_INPUT_KEYS = 3


class Neurons(NamedTuple):
    """What is known of every neuron, whatever the format. Output neuron j of layer l is entry ``first[l] + j``.

    widths : int64 (n_layers + 1,)      neurons before the first layer and after each one
    first : int64 (n_layers,)           where each layer's output neurons start
    order : uint32 (n,)                 order in which a layer's outputs are computed
    bias, bias_at_zero : float32 (n,)   what is added to a nonzero sum; what a sum of zero becomes
    low, high : float32 (n_layers,)     the activation clamps to this range
    zeros_stay : bool (n_layers + 1,)   a row of zeros before the layer is one after the last layer
    full_stays : bool (n_layers + 1,)   a row with every neuron at its maximum before the layer has all at theirs after the last
    high_bits : int32 (n_layers,)       bits of `high`
    full_sum : float64 (1,)             sum of such a row after the last layer
    last : int32 (n_outputs,)           for each of the network's outputs, the last layer's output that stands for it
    """

    widths: NDArray[np.int64]
    first: NDArray[np.int64]
    order: NDArray[np.uint32]
    bias: NDArray[np.float32]
    bias_at_zero: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    zeros_stay: NDArray[np.bool_]
    full_stays: NDArray[np.bool_]
    high_bits: NDArray[np.int32]
    full_sum: NDArray[np.float64]
    last: NDArray[np.int32]


class Connections(NamedTuple):
    """The connections of all layers, sparse or dense.

    Sparse by columns, in the order of computation: the output at position q of layer l, ``order[first[l] + q]``, has as many
    connections as come between ``indptr[first[l] + q]`` and ``indptr[first[l] + q + 1]``, stored from ``begin[first[l] + q]``
    on; columns that repeat are stored once. Sparse by rows: input i of layer l has connections ``indptr[first_row[l] + i] ..``.
    Dense: ``weights[start[l] + j * n_inputs + i]``, zeros included.

    indptr, begin : int64
    ids : uint16 or uint32 (nnz,)       the neuron at the other end (in dense blocks: the block's row, see `block_slot`)
    weights : float32 (nnz,)
    start : int64 (n_layers + 1,)       where each layer's entries start (dense), or its first row in indptr (by rows)
    """

    indptr: NDArray[np.int64]
    begin: NDArray[np.int64]
    ids: NDArray[np.uint16] | NDArray[np.uint32]
    weights: NDArray[np.float32]
    start: NDArray[np.int64]


def block_slot(neuron: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the row of a dense block that holds a neuron."""
    return neuron + (neuron >> SKEW_SHIFT)


def pack_neurons(network: Network, order: str, full_stays: NDArray[np.bool_], last: NDArray[np.int32]) -> Neurons:
    """Collect widths, biases, activations and the order of computation of all layers."""
    layers = network.layers
    widths = np.array([network.n_inputs, *(layer.n_outputs for layer in layers)], np.int64)
    first = np.concatenate([[0], np.cumsum(widths[1:])[:-1]]).astype(np.int64)
    bias = np.concatenate([layer.bias for layer in layers])
    high = np.array([layer.activation.high for layer in layers], np.float32)
    full = np.full(len(last), high[-1] if full_stays[-1] else 0, np.float64)
    return Neurons(
        widths,
        first,
        np.concatenate([_order(layer, order) for layer in layers]),
        bias,
        bias if network.bias_on == "all" else np.zeros_like(bias),
        np.array([layer.activation.low for layer in layers], np.float32),
        high,
        np.append(network.zero_rows_stay_zero(), True),
        full_stays,
        high.view(np.int32),
        np.add.accumulate(full)[-1:],  # added one by one, as kernels do
        last,
    )


def _order(layer: AnyLayer, order: str) -> NDArray[np.uint32]:
    """Columns as given, or sorted by their first inputs, so that columns that share inputs find them in the cache."""
    if order == "given":
        return np.arange(layer.n_outputs, dtype=np.uint32)
    distinct, column = layer.distinct()
    keys = [_nth_input(distinct, n) for n in range(SHARED_INPUT_KEYS)]
    by_inputs = np.lexsort(keys[::-1])
    if column is None:
        return by_inputs.astype(np.uint32)
    rank = np.empty(len(by_inputs), np.int32)
    rank[by_inputs] = np.arange(len(by_inputs), dtype=np.int32)
    return np.argsort(rank[column], kind="stable").astype(np.uint32)


def _nth_input(layer: Layer, n: int) -> NDArray[np.int64]:
    """The n-th input of every column; -1 where it has fewer."""
    at = layer.indptr[:-1] + n
    has = at < layer.indptr[1:]
    found = np.full(layer.n_outputs, -1, np.int64)
    found[has] = layer.indices[at[has]]
    return found


def pack_columns(network: Network, neurons: Neurons, *, slots: bool) -> Connections:
    """Pack all layers by columns, in the order of computation; `slots` stores block rows in place of neuron ids."""
    parts = [layer.distinct() for layer in network.layers]
    n_stored = sum(distinct.nnz for distinct, _ in parts)
    ids, weights = _empty_ids(network, n_stored, slots=slots), np.empty(n_stored, np.float32)
    indptr, begin = [np.zeros(1, np.int64)], []
    at, n_before = 0, 0
    for (distinct, column), first in zip(parts, neurons.first, strict=True):
        degrees = np.diff(distinct.indptr)
        n_outputs = distinct.n_outputs if column is None else len(column)
        order = neurons.order[first : first + n_outputs]
        columns = order if column is None else column[order]
        used, first_use = np.unique(columns, return_index=True)
        used = used[np.argsort(first_use)]
        packed = distinct.to_scipy()[:, used]
        ids[at : at + packed.nnz] = block_slot(packed.indices) if slots else packed.indices
        weights[at : at + packed.nnz] = packed.data
        stored_at = np.empty(distinct.n_outputs, np.int64)
        stored_at[used] = packed.indptr[:-1] + at
        begin.append(stored_at[columns])
        indptr.append(np.cumsum(degrees[columns]) + n_before)
        n_before += int(degrees[columns].sum())
        at += packed.nnz
    return Connections(np.concatenate(indptr), np.concatenate(begin), ids, weights, np.zeros(0, np.int64))


def pack_rows(network: Network) -> Connections:
    """Pack all layers by rows: the connections that leave each input neuron."""
    ids = _empty_ids(network, network.nnz, slots=False)
    weights = np.empty(network.nnz, np.float32)
    indptr, start = [np.zeros(1, np.int64)], [0]
    at = 0
    for layer in network.layers:
        rows = layer.to_scipy().tocsr()
        ids[at : at + layer.nnz] = rows.indices
        weights[at : at + layer.nnz] = rows.data
        indptr.append(rows.indptr[1:].astype(np.int64) + at)
        start.append(start[-1] + layer.n_inputs)
        at += layer.nnz
    return Connections(np.concatenate(indptr), np.zeros(0, np.int64), ids, weights, np.array(start, np.int64))


def pack_dense(network: Network, *, slots: bool) -> Connections:
    """Store every layer as a dense matrix, column by column; there are no ids, but their type is that of `pack_columns`."""
    sizes = [layer.n_inputs * layer.n_outputs for layer in network.layers]
    require(4 * sum(sizes), f"storing {len(sizes)} layers dense", "use a kernel with sparse layers (kernel=udc_csc)")
    weights = np.zeros(sum(sizes), np.float32)
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    for layer, at in zip(network.layers, start[:-1], strict=True):
        columns = np.repeat(np.arange(layer.n_outputs), np.diff(layer.indptr))
        weights[at + columns * layer.n_inputs + layer.indices] = layer.values
    return Connections(np.zeros(1, np.int64), np.zeros(0, np.int64), _empty_ids(network, 0, slots=slots), weights, start)


def _empty_ids(network: Network, n: int, *, slots: bool) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Room for `n` ids, in the smallest type that holds them all."""
    widest = max(network.n_inputs, *(layer.n_outputs for layer in network.layers))
    largest = int(block_slot(np.array([widest - 1]))[0]) if slots else widest - 1
    small = largest <= np.iinfo(np.uint16).max
    require(n * (6 if small else 8), f"packing {n:,} connections", "run fewer layers or neurons")
    return np.empty(n, np.uint16) if small else np.empty(n, np.uint32)
