"""Hashes neurons: applies the bucket permutation to a network and its inputs.

It spreads neighbouring neurons evenly, so that contiguous ranges of a layer's columns hold about equally many connections (for
model parallelism) and neighbouring columns of activations are not alike. Where the permutation comes from:
`sparsednn.rows.partition.hashed_positions`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.network import AnyLayer, Layer, Network, ShiftedLayer
from sparsednn.rows.partition import hashed_order, hashed_positions
from sparsednn.system.memory import require


class _Permutation(NamedTuple):
    """Neuron v goes to ``positions[v]``, which is ``order`` the other way round."""

    positions: NDArray[np.int32]
    order: NDArray[np.int64]


def hash_neurons(network: Network, inputs: sp.csr_array, buckets: int) -> tuple[Network, sp.csr_array]:
    """Return the network and the inputs with all neurons but the last layer's outputs in the order of the bucket permutation.

    The inputs' columns and each layer's rows and columns are permuted, with their biases and activations; see
    `sparsednn.rows.partition.hashed_positions`, whose inverse is `sparsednn.rows.partition.hashed_order`. The last layer's
    outputs keep their ids: nothing comes after them, and so outputs, the sums of instances and categories are in the original
    ids.

    A layer column's entries keep the order of the original ids and are therefore *not* ascending: a kernel that adds them up as
    they are stored gives the bits that it gives without hashing. One that adds in ascending new ids rounds differently.

    Parameters
    ----------
    network : Network
    inputs : csr_array of float32, shape (instances, network.n_inputs)
        Canonical (see `sparsednn.arguments.arrays.canonical_inputs`); so are those returned.
    buckets : int
        Neurons are dealt out to ``buckets * 128`` parts; widths below twice as many stay as they are.

    Returns
    -------
    Network, csr_array
        New ones that share no connections with those given, which are not changed.

    Raises
    ------
    MemoryError
        If the copies do not fit.
    """
    n_bytes = sum(_bytes_of(layer) for layer in network.layers)
    n_bytes += inputs.data.nbytes + inputs.indices.nbytes
    require(n_bytes, f"hashing the neurons of {network.nnz:,} connections", "use hashing=none or input")
    widths = [network.n_inputs, *(layer.n_outputs for layer in network.layers[:-1])]
    permutations = {
        width: _Permutation(hashed_positions(width, buckets).astype(np.int32), hashed_order(width, buckets))
        for width in set(widths)
    }
    before = [permutations[width] for width in widths]
    after = [*before[1:], None]
    layers = [
        _hashed(layer.expanded(), inputs_at, outputs_at)
        for layer, inputs_at, outputs_at in zip(network.layers, before, after, strict=True)
    ]
    hashed = Network.from_layers(layers, network.bias_on, network.challenge)
    return hashed, _hashed_inputs(inputs, before[0])


def _bytes_of(layer: AnyLayer) -> int:
    """Bytes of a copy; a layer of shifted templates is expanded, since hashed columns have nothing in common."""
    if isinstance(layer, ShiftedLayer):
        return 24 * layer.nnz
    return (4 if _is_uniform(layer.values) else 8) * layer.nnz


def _hashed(layer: Layer, before: _Permutation, after: _Permutation | None) -> Layer:
    """Rename a layer's inputs where they are, and move its columns."""
    indices = before.positions[layer.indices]
    if after is None:
        return replace(layer, indices=indices)
    columns = replace(layer, indices=indices).to_scipy()[:, after.order]
    return replace(
        layer,
        indptr=columns.indptr.astype(np.int64, copy=False),
        indices=columns.indices.astype(np.int32, copy=False),
        values=layer.values if _is_uniform(layer.values) else columns.data,
        bias=layer.bias if _is_uniform(layer.bias) else layer.bias[after.order],
        activation=layer.activation.taken(after.order),
    )


def _hashed_inputs(inputs: sp.csr_array, permutation: _Permutation) -> sp.csr_array:
    """Rename the columns, and sort each row again: kernels want inputs in ascending order."""
    indices = permutation.positions[inputs.indices].astype(inputs.indices.dtype, copy=False)
    hashed = sp.csr_array((inputs.data.copy(), indices, inputs.indptr), shape=inputs.shape)
    hashed.sort_indices()
    return hashed


def _is_uniform(values: NDArray[np.float32]) -> bool:
    """Whether this is a broadcast view of one value, which stays the same in any order."""
    return values.strides == (0,)
