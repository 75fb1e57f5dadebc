"""Packs a network for the GPU kernels in host memory, as one array of bytes with a part for each layer.

Plain data: processes of a node can share it, it can be pinned and streamed, and a layer goes to a device in one copy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.column_merging import MergedColumns, saturated_rows_stay
from backends.common.column_ordering import computing_order
from backends.common.positions import entries_at
from backends.cupy_gpu.kernels.source import INPUT_BYTES, OUTPUTS, SHARED_BYTES, SLICE, layer_kernel, shared_kernel
from backends.cupy_gpu.layout.blobs import Blobs, KnownLayers
from backends.cupy_gpu.layout.kernels.packing import fill_slices, quads_share
from backends.cupy_gpu.layout.magnitudes import UNKNOWN, after
from backends.cupy_gpu.layout.narrow import PART, is_narrow, narrow_layers
from backends.cupy_gpu.layout.packed import PackedLayer, PackedNetwork
from backends.cupy_gpu.layout.quads import OnlyAdding, in_quads
from sparsednn.backend import KernelOptions
from sparsednn.errors import OptionError
from sparsednn.network import Layer, Network

REUSE = 2
"""Inputs are staged in shared memory where each is used so often by its slice, on average."""

WIDE = 2**16
"""Ids have 2 bytes up to so many neurons."""


def pack_network(network: Network, options: KernelOptions, *, fused: bool) -> PackedNetwork:
    """Pack a network for the fused kernel (sliced ELL), or for cuSPARSE (CSR of each layer's transpose).

    Raises
    ------
    MemoryError
        If it will not fit into host memory.
    """
    merged = MergedColumns(network) if options.columns == "merge" else None
    layers = network.layers if merged is None else merged.layers()
    wide = max(network.n_inputs, *(layer.n_outputs for layer in network.layers)) > WIDE
    blobs, known = Blobs(), KnownLayers([] if merged is not None else network.layers)
    packed: list[PackedLayer] = []
    adding, before = OnlyAdding(), UNKNOWN
    rank: NDArray[np.int64] | None = None
    for number, layer in enumerate(layers):
        key = known.key(number, rank)
        found = known.packed.get(key) if key is not None else None
        if found is None:
            if fused:
                ordered, next_rank = _in_order(layer.expanded(), options.order, rank)
                bounds = after(ordered, bias_everywhere=network.bias_on == "all")
                found = _sliced_ell(ordered, blobs, wide=wide), next_rank, bounds
            else:
                found = _csr(layer.expanded(), blobs), None, UNKNOWN
            if key is not None:
                known.packed[key] = found
        one, rank, bounds = found
        packed.append(adding.of(one, before))
        before = bounds
    last = np.arange(network.n_outputs, dtype=np.int32) if merged is None else merged.last
    last = last if rank is None else rank[last].astype(np.int32)
    return PackedNetwork(
        store=blobs.store(),
        layers=packed,
        last=last,
        bias_everywhere=network.bias_on == "all",
        zeros_stay=np.append(network.zero_rows_stay_zero(), True),
        full_stays=saturated_rows_stay(network),
        narrow=narrow_layers(packed) if fused else None,
    )


def _in_order(layer: Layer, order: str, rank: NDArray[np.int64] | None) -> tuple[Layer, NDArray[np.int64] | None]:
    """Put a layer's columns into the order of computation, and let its inputs be those of the layer before in theirs."""
    indices = layer.indices if rank is None else rank[layer.indices].astype(np.int32)
    _, computed = computing_order(layer, order)
    if computed is None:
        return replace(layer, indices=indices), None
    start, stop = layer.indptr[computed], layer.indptr[computed + 1]
    indptr, at = np.concatenate([[0], np.cumsum(stop - start)]), entries_at(start, stop)
    new_rank = np.empty(layer.n_outputs, np.int64)
    new_rank[computed] = np.arange(layer.n_outputs)
    one = _one_weight(layer)
    values = layer.values[at] if one is None else np.broadcast_to(one, at.shape)
    bias, activation = layer.bias[computed], layer.activation.taken(computed)
    return replace(layer, indptr=indptr, indices=indices[at], values=values, bias=bias, activation=activation), new_rank


def _one_weight(layer: Layer) -> np.float32 | None:
    """The weight of a layer in which all are the same."""
    if layer.nnz == 0:
        return np.float32(0)
    first = np.float32(layer.values[0])
    return first if layer.values.strides == (0,) or bool((layer.values == first).all()) else None


def _sliced_ell(layer: Layer, blobs: Blobs, *, wide: bool) -> PackedLayer:
    """Slices of outputs as wide as their longest column; the k-th terms of a slice lie side by side."""
    n_slices = -(-layer.n_outputs // SLICE)
    degrees, bias = np.zeros(n_slices * SLICE, np.int32), np.zeros(n_slices * SLICE, np.float32)
    degrees[: layer.n_outputs], bias[: layer.n_outputs] = np.diff(layer.indptr), layer.bias
    widths = degrees.reshape(-1, SLICE).max(axis=1, initial=0)
    slices = np.concatenate([[0], np.cumsum(widths.astype(np.int64) * SLICE)])
    n_terms, id_type, weight = int(slices[-1]), np.uint32 if wide else np.uint16, _one_weight(layer)
    ids, local = np.zeros(n_terms, id_type), np.zeros(n_terms, id_type)
    weights = np.zeros(n_terms if weight is None else 0, np.float32)
    maps, inputs = np.zeros(n_slices + 1, np.int32), np.empty(layer.nnz, np.int32)
    stamp, place = np.full(layer.n_inputs, -1, np.int32), np.empty(layer.n_inputs, np.int32)
    n_inputs = fill_slices(
        layer.indptr, layer.indices, layer.values, SLICE, slices, ids, local, weights, maps, inputs, stamp, place
    )  # fmt: skip
    largest = int(np.diff(maps).max(initial=0)) * INPUT_BYTES
    staged = 0 < largest <= SHARED_BYTES and layer.nnz >= REUSE * n_inputs
    work = np.concatenate([[0], np.cumsum(degrees.reshape(-1, SLICE).sum(axis=1, dtype=np.int64))])
    kernel = layer_kernel(wide=wide, uniform=weight is not None, staged=staged)
    if staged and quads_share(layer.indptr, layer.indices, OUTPUTS):
        kernel, id_type = shared_kernel(uniform=weight is not None), np.uint32
        slices, local, weights = in_quads(slices, local, weights)
    narrow = {PART: ids.astype(np.uint16)} if is_narrow(layer.n_inputs, layer.n_outputs, kernel) else {}
    arrays: dict[str, NDArray[Any]] = {
        "ids": local if staged else ids,
        "weights": weights,
        "slices": slices,
        "degrees": degrees,
        "bias": bias,
        "map": inputs[: n_inputs if staged else 0].astype(id_type),
        "maps": maps if staged else maps[:0],
        **_activations(layer, n_slices * SLICE),
        **narrow,
    }
    where, shared_bytes = blobs.add(arrays), largest if staged else 0
    return _packed(layer, where, kernel=kernel, weight=float(weight or 0), slice_work=work, shared_bytes=shared_bytes)


def _csr(layer: Layer, blobs: Blobs) -> PackedLayer:
    """The transpose in canonical CSR; an input that is there more than once (where columns were merged) has one weight."""
    transposed = sp.csr_array(
        (np.array(layer.values), layer.indices.copy(), layer.indptr), shape=(layer.n_outputs, layer.n_inputs)
    )  # fmt: skip
    transposed.sum_duplicates()
    if transposed.nnz >= 2**31:
        raise OptionError(f"a layer of {transposed.nnz:,} connections: cuSPARSE's ids have 32 bits; use kernel=fused")
    where = blobs.add(
        {
            "indptr": transposed.indptr.astype(np.int32),
            "indices": transposed.indices.astype(np.int32),
            "values": transposed.data,
            "fan_out": np.bincount(transposed.indices, minlength=layer.n_inputs).astype(np.int64),
            "bias": np.ascontiguousarray(layer.bias),
            **_activations(layer, layer.n_outputs),
        }
    )
    packed = _packed(layer, where, kernel="", weight=0.0, slice_work=np.zeros(0, np.int64), shared_bytes=0)
    return replace(packed, nnz=int(transposed.nnz))


def _activations(layer: Layer, n: int) -> dict[str, NDArray[Any]]:
    """The activations of single neurons, float32 (n, 4), zeros after the last one; nothing where all have one clamp."""
    if layer.activation.is_clamp:
        return {}
    table = np.zeros((n, 4), np.float32)
    table[: layer.n_outputs] = layer.activation.table(layer.n_outputs)
    return {"activations": table}


def _packed(
    layer: Layer, where: tuple[int, int, dict[str, int]], *, kernel: str, weight: float, slice_work: NDArray[np.int64],
    shared_bytes: int,
) -> PackedLayer:  # fmt: skip
    """Describe a layer, whose bytes are in their place, to the kernels."""
    at, n_bytes, parts = where
    return PackedLayer(
        at=at,
        n_bytes=n_bytes,
        parts=parts,
        n_inputs=layer.n_inputs,
        n_outputs=layer.n_outputs,
        nnz=layer.nnz,
        most_terms=int(np.diff(layer.indptr).max(initial=0)),
        kernel=kernel,
        weight=weight,
        low=layer.activation.low if layer.activation.is_clamp else -np.inf,
        high=layer.activation.high if layer.activation.is_clamp else np.inf,
        slice_work=slice_work,
        shared_bytes=shared_bytes,
    )
