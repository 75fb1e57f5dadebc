"""Multiplies sparse layers by dense blocks (SpMM) or by sparse activations (SpGEMM) with cuSPARSE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import Device, DeviceArray
from backends.cupy_gpu.kernels.dense import DenseBlock, fill, pick
from backends.cupy_gpu.kernels.source import LANES, WARPS
from backends.cupy_gpu.layout.packing import PackedLayer, PackedNetwork
from backends.cupy_gpu.run.worker import Lane


@dataclass(frozen=True, slots=True)
class LibraryLayer:
    """A layer in the library's own form.

    weights : float32 csr_matrix (n_outputs, n_inputs)    the transpose
    bias : float32 (n_outputs,)
    activations : float32 (4 * n_outputs,)                those of single neurons, or None
    """

    weights: Any
    bias: DeviceArray
    activations: DeviceArray | None


def library_layer(device: Device, layer: PackedLayer, data: DeviceArray) -> LibraryLayer:
    """Point a csr_matrix at a layer's bytes, data : uint8 (layer.n_bytes,), on the device."""
    parts = layer.parts

    def part(name: str, n: int, dtype: Any) -> DeviceArray:
        return data[parts[name] : parts[name] + n * np.dtype(dtype).itemsize].view(dtype)

    arrays = (
        part("values", layer.nnz, np.float32),
        part("indices", layer.nnz, np.int32),
        part("indptr", layer.n_outputs + 1, np.int32),
    )
    weights = device.sparse.csr_matrix(arrays, shape=(layer.n_outputs, layer.n_inputs))
    weights.has_canonical_format = True
    own = part("activations", 4 * layer.n_outputs, np.float32) if "activations" in parts else None
    return LibraryLayer(weights, part("bias", layer.n_outputs, np.float32), own)


class SpmmKernel:
    """Sparse layers by dense blocks; blocks instance by instance, which the library takes for columns."""

    name, fused, tile, has_teams = "cusparse_spmm", False, 1, False
    buffers_per_row = 3

    def make(self, device: Device, layer: PackedLayer, data: DeviceArray) -> LibraryLayer:
        """Return a layer in the library's form; data : uint8 (layer.n_bytes,)."""
        return library_layer(device, layer, data)

    def load(self, lane: Lane, network: PackedNetwork, inputs: sp.csr_array) -> DenseBlock:
        """Bring instances into memory of their own; inputs : float32 CSR (n, n_inputs)."""
        n, n_neurons = inputs.shape
        x = lane.device.empty(n * n_neurons, np.float32)
        block = DenseBlock(x, n_neurons=n_neurons, n=n, n_padded=n, by_instance=False)
        fill(lane, block, inputs)
        return block

    def pick(self, lane: Lane, block: DenseBlock, keep: NDArray[np.int64]) -> DenseBlock:
        """Copy the instances that are left; keep : int64 (n_kept,), ascending."""
        return pick(lane, block, keep, lane.device.empty(block.n_neurons * len(keep), np.float32))

    def advance(
        self, lane: Lane, network: PackedNetwork, layer: PackedLayer, made: LibraryLayer, block: DenseBlock,
        flags: tuple[Any, Any],
    ) -> tuple[DenseBlock, int]:  # fmt: skip
        """Put a layer into the stream; return the next block and the multiply-adds."""
        x = block.x[: block.size].reshape(block.n, block.n_neurons)
        z = lane.device.xp.ascontiguousarray((made.weights @ x.T).T).reshape(-1)
        after = DenseBlock(z, n_neurons=layer.n_outputs, n=block.n, n_padded=block.n, by_instance=False)
        lane.launch(
            "finish_layer", after.grid(), (LANES, WARPS), z, *after.strides, np.int32(layer.n_outputs), np.int32(block.n),
            *(made.bias, made.activations, np.int32(network.bias_everywhere), np.float32(layer.low), np.float32(layer.high)),
            *flags,
        )  # fmt: skip
        return after, block.n * layer.nnz


@dataclass(slots=True)
class SparseBlock:
    """Activations as the library's csr_matrix, shape (n_neurons, n): what is dead has no entries."""

    matrix: Any
    n: int


class SpgemmKernel:
    """Sparse layers by sparse activations, whose transpose is kept."""

    name, fused, tile, has_teams = "cusparse_spgemm", False, 1, False

    def make(self, device: Device, layer: PackedLayer, data: DeviceArray) -> LibraryLayer:
        """Return a layer in the library's form; data : uint8 (layer.n_bytes,)."""
        return library_layer(device, layer, data)

    def load(self, lane: Lane, network: PackedNetwork, inputs: sp.csr_array) -> SparseBlock:
        """Bring the transpose of instances to the device; inputs : float32 CSR (n, n_inputs)."""
        columns = sp.csr_array(inputs.T)
        arrays = (columns.data, columns.indices.astype(np.int32), columns.indptr.astype(np.int32))
        return SparseBlock(
            lane.device.sparse.csr_matrix(tuple(lane.upload(array) for array in arrays), shape=columns.shape), inputs.shape[0]
        )

    def advance(
        self, lane: Lane, network: PackedNetwork, layer: PackedLayer, made: LibraryLayer, block: SparseBlock,
        flags: tuple[Any, Any],
    ) -> tuple[SparseBlock, int]:  # fmt: skip
        """Put a layer into the stream; return the next activations and the multiply-adds."""
        xp, x = lane.device.xp, block.matrix
        per_input = xp.bincount(made.weights.indices, minlength=layer.n_inputs)
        n_ops = int((per_input * xp.diff(x.indptr)).sum())
        low, high = np.float32(layer.low), np.float32(layer.high)
        empty = not made.weights.nnz or not x.nnz
        z = lane.device.sparse.csr_matrix((layer.n_outputs, block.n), dtype=np.float32) if empty else made.weights @ x
        if network.bias_everywhere or low > 0 or high < 0:  # sums of zero, which have no entries, become something else
            sums = z.toarray()
            with_bias = sums + made.bias[:, None]
            dense = xp.clip(with_bias if network.bias_everywhere else xp.where(sums != 0, with_bias, sums), low, high)
            return SparseBlock(lane.device.sparse.csr_matrix(dense), block.n), n_ops
        neuron = xp.searchsorted(z.indptr, xp.arange(z.nnz, dtype=z.indptr.dtype), side="right") - 1
        z.data = xp.where(z.data != 0, xp.clip(z.data + made.bias[neuron], low, high), np.float32(0))
        z.eliminate_zeros()
        return SparseBlock(z, block.n), n_ops

    def result(self, lane: Lane, block: SparseBlock, last: NDArray[np.int32]) -> sp.csr_array:
        """Return the activations of some neurons, float32 CSR (n, n_outputs); last : int32 (n_outputs,), the neurons."""
        x = block.matrix
        arrays = tuple(lane.download(array) for array in (x.data, x.indices, x.indptr))
        rows = sp.csr_array(sp.csr_array(arrays, shape=(x.shape[0], block.n))[last].T)
        rows.sort_indices()
        return rows
