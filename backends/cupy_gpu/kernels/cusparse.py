"""Multiplies sparse layers by dense blocks (SpMM) or by sparse activations (SpGEMM) with cuSPARSE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import Device, DeviceArray
from backends.cupy_gpu.kernels.dense import DenseBlock, fill, output_floats, pick
from backends.cupy_gpu.kernels.source import LANES, WARPS
from backends.cupy_gpu.layout.inputs import InputRows
from backends.cupy_gpu.layout.packed import PackedLayer, PackedNetwork
from backends.cupy_gpu.run.worker import Lane
from sparsednn.errors import OptionError

MOST_ENTRIES = 2**31 - 1
"""Entries of a matrix, sparse or dense, that the library's ids of 32 bits can count."""

PRODUCT_BYTES = 16
"""Memory that a sparse product takes for each multiply-add while it is made."""

ENTRY_BYTES = 40
"""Memory for each activation of a sparse block: id and value, before and after a layer, and what bias and activation take."""


@dataclass(frozen=True, slots=True)
class LibraryLayer:
    """A layer in the library's own form.

    weights : float32 csr_matrix (n_outputs, n_inputs)    the transpose
    fan_out : int64 (n_inputs,)                           connections of each input
    bias : float32 (n_outputs,)
    activations : float32 (4 * n_outputs,)                those of single neurons, or None
    """

    weights: Any
    fan_out: DeviceArray
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
    weights = library_matrix(device, *arrays, (layer.n_outputs, layer.n_inputs))
    own = part("activations", 4 * layer.n_outputs, np.float32) if "activations" in parts else None
    return LibraryLayer(weights, part("fan_out", layer.n_inputs, np.int64), part("bias", layer.n_outputs, np.float32), own)


def library_matrix(
    device: Device, data: DeviceArray, indices: DeviceArray, indptr: DeviceArray, shape: tuple[int, int]
) -> Any:  # fmt: skip
    """Return a csr_matrix, float32, of arrays that are on the device, or on their way there.

    The library is not asked to make it of them: CuPy 14 would wait until they are there, to look at them.

    data : float32 (nnz,), indices : int32 (nnz,), indptr : int32 (n_rows + 1,)    in canonical format
    shape : n_rows, n_columns
    """
    matrix = device.sparse.csr_matrix(shape, dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    matrix.has_canonical_format = True
    return matrix


def _most_rows(network: PackedNetwork) -> int:
    """Return how many instances the library's ids allow at a time."""
    return MOST_ENTRIES // network.widest


class SpmmKernel:
    """Sparse layers by dense blocks; blocks instance by instance, which the library takes for columns."""

    name, fused, tile, has_teams, is_dense = "cusparse_spmm", False, 1, False, True

    def row_bytes(self, network: PackedNetwork) -> int:
        """Return the memory that an instance takes: before a layer, after it, and once more while that is put in order."""
        return 3 * 4 * network.widest

    def most_rows(self, network: PackedNetwork) -> int:
        """Return how many instances a worker may take at a time, however much memory there is."""
        return _most_rows(network)

    def reserve(self, lane: Lane, network: PackedNetwork) -> None:
        """Let the library hold the memory that the worker's blocks will need."""
        lane.device.empty(self.row_bytes(network) * lane.block_rows, np.uint8)

    def make(self, device: Device, layer: PackedLayer, data: DeviceArray) -> LibraryLayer:
        """Return a layer in the library's form; data : uint8 (layer.n_bytes,)."""
        return library_layer(device, layer, data)

    def load(self, lane: Lane, network: PackedNetwork, inputs: InputRows) -> DenseBlock:
        """Bring instances into memory of their own."""
        n, n_neurons = inputs.shape
        x = lane.device.empty(n * n_neurons, np.float32)
        block = DenseBlock(x, n_neurons=n_neurons, n=n, n_padded=n, by_instance=False)
        fill(lane, block, inputs)
        return block

    def spare(self, lane: Lane, block: DenseBlock) -> DeviceArray:
        """Return memory for `outputs` of a block that is through."""
        return lane.device.empty(output_floats(block), np.float32)

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

    name, fused, tile, has_teams, is_dense = "cusparse_spgemm", False, 1, False, False

    def row_bytes(self, network: PackedNetwork) -> int:
        """Return the memory that an instance takes at most: activations that are all alive, and the products of a layer."""
        return ENTRY_BYTES * network.widest + PRODUCT_BYTES * max(layer.nnz for layer in network.layers)

    def most_rows(self, network: PackedNetwork) -> int:
        """Return how many instances a worker may take at a time, however much memory there is."""
        return _most_rows(network)

    def reserve(self, lane: Lane, network: PackedNetwork) -> None:
        """Take nothing: what is needed depends on the inputs, and is mostly far less than `row_bytes`."""

    def make(self, device: Device, layer: PackedLayer, data: DeviceArray) -> LibraryLayer:
        """Return a layer in the library's form; data : uint8 (layer.n_bytes,)."""
        return library_layer(device, layer, data)

    def load(self, lane: Lane, network: PackedNetwork, rows: InputRows) -> SparseBlock:
        """Bring the transpose of instances to the device."""
        inputs = rows.inputs[rows.chosen]
        if inputs.nnz > MOST_ENTRIES:
            raise OptionError(
                f"{inputs.nnz:,} entries in a block of {inputs.shape[0]:,} instances: cuSPARSE's ids have 32 bits; "
                "use a smaller block_rows or kernel=fused"
            )
        columns = sp.csr_array(inputs.T)
        data, indices, indptr = columns.data, columns.indices.astype(np.int32), columns.indptr.astype(np.int32)
        arrays = lane.upload(data), lane.upload(indices), lane.upload(indptr)
        return SparseBlock(library_matrix(lane.device, *arrays, columns.shape), inputs.shape[0])

    def advance(
        self, lane: Lane, network: PackedNetwork, layer: PackedLayer, made: LibraryLayer, block: SparseBlock,
        flags: tuple[Any, Any],
    ) -> tuple[SparseBlock, int]:  # fmt: skip
        """Put a layer into the stream; return the next activations and the multiply-adds."""
        xp, x = lane.device.xp, block.matrix
        n_ops = int((made.fan_out * xp.diff(x.indptr)).sum())
        low, high = np.float32(layer.low), np.float32(layer.high)
        empty = not made.weights.nnz or not x.nnz
        z = lane.device.sparse.csr_matrix((layer.n_outputs, block.n), dtype=np.float32) if empty else made.weights @ x
        if network.bias_everywhere or low > 0 or high < 0:  # sums of zero, which have no entries, become something else
            sums = z.toarray()
            with_bias = sums + made.bias[:, None]
            dense = xp.clip(with_bias if network.bias_everywhere else xp.where(sums != 0, with_bias, sums), low, high)
            found = lane.device.sparse.csr_matrix(dense)
            found.has_canonical_format = True
            return SparseBlock(found, block.n), n_ops
        z.has_canonical_format = True  # CuPy 13 would find out
        neuron = xp.searchsorted(z.indptr, xp.arange(z.nnz, dtype=z.indptr.dtype), side="right") - 1
        z.data = xp.where(z.data != 0, xp.clip(z.data + made.bias[neuron], low, high), np.float32(0))
        z.eliminate_zeros()
        z.has_canonical_format = True
        return SparseBlock(z, block.n), n_ops

    def result(self, lane: Lane, block: SparseBlock, last: NDArray[np.int32]) -> sp.csr_array:
        """Return the activations of some neurons, float32 CSR (n, n_outputs); last : int32 (n_outputs,), the neurons."""
        x = block.matrix
        arrays = tuple(lane.download(array) for array in (x.data, x.indices, x.indptr))
        rows = sp.csr_array(sp.csr_array(arrays, shape=(x.shape[0], block.n))[last].T)
        rows.sort_indices()
        return rows
