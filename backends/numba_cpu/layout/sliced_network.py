"""Packs whole networks in slices for direct calls, and takes them apart for files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.column_merging import MergedColumns
from backends.common.short_weights import STORED, as_float32
from backends.numba_cpu.layout.arrays import join, split
from backends.numba_cpu.layout.kernels.slices import COLUMNS, FIRST_ENTRY, FIRST_SLICE, N_INPUTS, N_OUTPUTS, N_SLICES, TERMS
from backends.numba_cpu.layout.shifted_slices import shared_slices
from backends.numba_cpu.layout.slices import Slices, pack_slices, slice_ids
from sparsednn.backend import DirectSize, KernelOptions, StoredLayout
from sparsednn.network import Layer, Network, RepeatedLayer, ShiftedLayer, identity
from sparsednn.system.memory import require

KERNEL = "sliced"
"""The name of what takes such networks."""

HOW = "threads cut the columns of a small batch and share the rows of a large one"


class SlicedLayers(NamedTuple):
    """A network packed for direct calls.

    slices : Slices
    last : int32 (n_outputs,)     for each of the network's outputs, the last layer's output that stands for it
    connections : int             that an instance goes through
    always : bool                 the bias is added to a sum of zero too
    columns : str                 what was done about columns that are the same: none or merge
    """

    slices: Slices
    last: NDArray[np.int32]
    connections: int
    always: bool
    columns: str

    @property
    def n_inputs(self) -> int:
        """Neurons of the input."""
        return int(self.slices.table[0, N_INPUTS])

    @property
    def widest(self) -> int:
        """Neurons of the input, or of the layer that has the most."""
        return int(self.slices.table[:, [N_INPUTS, N_OUTPUTS]].max())

    def layers(self) -> list[Layer]:
        """Return the connections of all layers as they were packed, without shifts; biases and activations are left out.

        Raises
        ------
        MemoryShortageError
            If they do not fit.
        """
        require(8 * self.connections, f"unpacking {self.connections:,} connections", "use larger batches, or fewer layers")
        return [_unpacked(self.slices, number) for number in range(len(self.slices.table))]

    def store(self) -> StoredLayout:
        """Return what it is made of; see `restored`."""
        starts = {f"slices.{name}": at for name, at in self.slices.starts().items()}
        return split(network=self, slices=self.slices)._replace(starts=starts)


def restored(stored: StoredLayout) -> SlicedLayers:
    """Return a packed network that was stored."""
    return join("network", SlicedLayers, stored, slices=join("slices", Slices, stored))


def packed(network: Network, options: KernelOptions) -> SlicedLayers:
    """Pack a network; of the options, `columns` and `weights` are used.

    Raises
    ------
    MemoryShortageError
        If it does not fit.
    """
    layers, last = list(network.layers), np.arange(network.n_outputs, dtype=np.int32)
    if options.columns == "merge":
        merged = MergedColumns(network)
        layers = list(merged.layers())
        last = merged.last
    widest = max(network.n_inputs, *(layer.n_outputs for layer in layers))
    slices, connections = pack_slices(layers, widest, options.weights), sum(layer.nnz for layer in layers)
    return SlicedLayers(slices, last, connections, network.bias_on == "all", options.columns)


def direct_size(network: Network, options: KernelOptions) -> DirectSize:
    """Return how large the network will be, from its layers' sizes; padding is not counted."""
    merges = options.columns == "merge"
    sizes = [layer.n_stored if merges and isinstance(layer, RepeatedLayer) else layer.nnz for layer in network.layers]
    stored = [
        sum(group.n_entries for group in shared_slices(layer)) if isinstance(layer, ShiftedLayer) else size
        for layer, size in zip(network.layers, sizes, strict=True)
    ]
    widest = max(network.n_inputs, *(layer.n_outputs for layer in network.layers))
    entry_bytes = np.dtype(slice_ids(widest)).itemsize + np.dtype(STORED[options.weights]).itemsize
    return DirectSize(KERNEL, sum(sizes), entry_bytes * sum(stored), HOW)


def _unpacked(slices: Slices, number: int) -> Layer:
    n_inputs, n_outputs, first, n = (int(slices.table[number, at]) for at in (N_INPUTS, N_OUTPUTS, FIRST_SLICE, N_SLICES))
    begin, lengths = int(slices.table[number, FIRST_ENTRY]), slices.parts[first : first + n, TERMS] * COLUMNS
    end = begin + int(lengths.sum())
    ids = slices.ids[begin:end]
    used = np.flatnonzero(ids < n_inputs)  # the others are padding
    columns = np.repeat(np.arange(first, first + n), lengths) * COLUMNS + np.arange(end - begin) % COLUMNS
    outputs = slices.order[columns[used]]
    by_output = used[np.argsort(outputs, kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(outputs, minlength=n_outputs))])
    values = as_float32(slices.weights[begin:end][by_output])
    bias = np.zeros(n_outputs, np.float32)
    return Layer(n_inputs, n_outputs, indptr, ids[by_output].astype(np.int32), values, bias, identity())
