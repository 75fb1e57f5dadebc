"""Merges the repeated columns of any network as it is loaded, and finds the layers that keep a saturated row saturated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backends.common.kernels import column_merging as kernels
from backends.common.positions import entries_at
from sparsednn.network import AnyLayer, Layer, Network, RepeatedLayer, ShiftedLayer, identity


class MergedColumns:
    """A network's layers with one of each set of columns that are the same; the next layer's connections come from it.

    Columns that have the same terms in the same order, the same bias and activation give the same output to the last bit. A
    merged layer's columns keep all their terms in their order, so that an input may occur in a column more than once.

    A `ShiftedLayer` stays as it is, and so do the outputs of the layer before it: offsets count in neurons that are all there.

    Attributes
    ----------
    last : int32 array, shape (network.n_outputs,)
        For each of the last layer's outputs, the one that was kept for it. Known once all layers have been merged.
    stands_for : list of int32 arrays
        For each layer, how many outputs each kept one stands for.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.last = np.arange(network.n_inputs, dtype=np.int32)
        self.stands_for: list[NDArray[np.int32]] = []
        self._counted = self.last, np.ones(network.n_inputs, np.int32)

    def layers(self) -> Iterator[AnyLayer]:
        """Merge and yield layer after layer, so that memory holds one at a time."""
        layers = self.network.layers
        for layer, following in zip(layers, [*layers[1:], None], strict=True):
            made: AnyLayer
            if isinstance(layer, ShiftedLayer):
                made, self.last = layer, np.arange(layer.n_outputs, dtype=np.int32)
            elif isinstance(following, ShiftedLayer):
                made, self.last = _renumbered(layer, self.last), np.arange(layer.n_outputs, dtype=np.int32)
            else:
                columns, column = layer.distinct()
                made, merged = _merge_layer(columns, self.last)
                self.last = _both(merged, column, columns.n_outputs)
            self.stands_for.append(self._counts(made.n_outputs))
            yield made

    def _counts(self, n_kept: int) -> NDArray[np.int32]:
        """Count for what each kept output stands; layers of a generated network often have the same counts."""
        last, counts = self._counted
        if last is not self.last or len(counts) != n_kept:
            self._counted = self.last, np.bincount(self.last, minlength=n_kept).astype(np.int32)
        return self._counted[1]


def saturated_rows_stay(network: Network) -> NDArray[np.bool_]:
    """Say for each layer whether a row with every neuron at its activation's maximum before it stays so to the end.

    "Its activation's maximum" is that of the layer before; so the first is False. Shape (n_layers + 1,), the last one True
    if the last layer's activation has a maximum. Only clamps have one, and only they are known to keep rows saturated.
    """
    clamps = [layer.activation if layer.activation.is_clamp else identity() for layer in network.layers]
    highs = [np.float32(clamp.high) for clamp in clamps]
    keeps = np.zeros(len(network.layers) + 1, np.bool_)
    keeps[-1] = np.isfinite(highs[-1])
    for number in range(len(network.layers) - 1, 0, -1):
        if not keeps[number + 1] or not np.isfinite(highs[number - 1]) or not network.layers[number].activation.is_clamp:
            break
        keeps[number] = _keeps_saturated(network, number, highs[number - 1])
    return keeps


def _keeps_saturated(network: Network, number: int, before: np.float32) -> bool:
    layer = _different_sums(network.layers[number])
    values, step = _weights(layer)
    bias = np.ascontiguousarray(layer.bias)
    at_zero = bias if network.bias_on == "all" else np.zeros_like(bias)
    low, high = np.float32(layer.activation.low), np.float32(layer.activation.high)
    return bool(kernels.keeps_saturated(layer.indptr, layer.indices, values, step, bias, at_zero, low, high, before))


def _different_sums(layer: AnyLayer) -> Layer:
    """The columns that may have different sums where all inputs are the same.

    Those of a `RepeatedLayer` have equally many connections with one weight; those of a `ShiftedLayer` differ by template and
    bias.
    """
    if isinstance(layer, RepeatedLayer):
        return replace(layer, n_outputs=1, columns=layer.columns[:1], column=np.zeros(1, np.int32)).expanded()
    if not isinstance(layer, ShiftedLayer):
        return layer
    pairs = np.stack([layer.template, np.ascontiguousarray(layer.bias).view(np.int32)], axis=1)
    _, kept = np.unique(pairs, axis=0, return_index=True)
    template, offset = layer.template[kept], np.zeros(len(kept), np.int32)
    return replace(layer, n_outputs=len(kept), template=template, offset=offset, bias=layer.bias[kept]).expanded()


def _both(merged: NDArray[np.int32] | None, column: NDArray[np.int32] | None, n: int) -> NDArray[np.int32]:
    """Return what was kept for each output, of which `column` is the distinct one (None: its own) of n."""
    if column is None:
        return np.arange(n, dtype=np.int32) if merged is None else merged
    return column if merged is None else merged[column]


def _renumbered(layer: AnyLayer, representative: NDArray[np.int32]) -> Layer:
    """A layer whose inputs are those that were kept of the layer before, with all its outputs."""
    full = layer.expanded()
    return replace(full, n_inputs=int(representative.max(initial=-1)) + 1, indices=representative[full.indices])


def _weights(layer: Layer) -> tuple[NDArray[np.float32], int]:
    """A layer's weights and the step from one to the next: 0 where there is one for all."""
    if layer.values.strides == (0,) and layer.nnz:
        return np.ascontiguousarray(layer.values[:1]), 0
    return np.ascontiguousarray(layer.values), 1


def _merge_layer(layer: Layer, representative: NDArray[np.int32]) -> tuple[Layer, NDArray[np.int32] | None]:
    """Return a layer of the columns to keep, and the number of each among these: None where all are kept."""
    n, (values, step) = layer.n_outputs, _weights(layer)
    bias = np.ascontiguousarray(layer.bias)
    table = np.full(1 << int(2 * n).bit_length(), -1, np.int32)
    merged, kept, ends = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n + 1, np.int64)
    inputs = np.empty(layer.nnz, np.int32)
    n_kept = kernels.merge_columns(
        layer.indptr, layer.indices, values.view(np.int32), step, _ends(layer, bias), representative, table, merged, kept, ends,
        inputs,
    )  # fmt: skip
    kept, ends = kept[:n_kept], ends[: n_kept + 1]
    if step == 0:
        weights = np.broadcast_to(values[:1], (int(ends[-1]),))
    elif n_kept == n:
        weights = values.copy()  # who takes a merged layer may sort its entries where they are: that must not reach the network
    else:
        weights = values[entries_at(layer.indptr[kept], layer.indptr[kept + 1])]
    small = replace(
        layer, n_inputs=int(representative.max(initial=-1)) + 1, n_outputs=n_kept, indptr=ends, indices=inputs[: ends[-1]],
        values=weights, bias=bias[kept], activation=layer.activation.taken(kept),
    )  # fmt: skip
    return small, None if n_kept == n else merged


def _ends(layer: Layer, bias: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the end of each column as a number: the bits of its bias, or the number of its bias and activation together."""
    if layer.activation.neurons is None:
        return bias.view(np.int32)
    together = np.column_stack([bias, layer.activation.neurons]).view(np.int32)
    _, numbers = np.unique(together, axis=0, return_inverse=True)
    return numbers.reshape(-1).astype(np.int32)
