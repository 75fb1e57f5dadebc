"""Chooses the layers that go through BLAS, and packs them as dense matrices beside the sparse ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.dense.kernels.simd import SKEW_SHIFT
from backends.numba_cpu.layout.groups import ColumnGroups
from backends.numba_cpu.layout.packing import ColumnPacker, Connections
from backends.numba_cpu.layout.stores import StoreMaker, memory_store
from sparsednn.network import AnyLayer, Network, NetworkOutline
from sparsednn.system.memory import require

ALL, FULL = "blas", "fast"
"""The kernels: all layers go through BLAS, or those that are full enough."""

SLICED, SPARSE, DENSE = 1.0, 1.45, 0.85
"""Cost of a connection of a layer in slices (direct calls of the kernel auto) and of a sparse layer of blocks, and what a
weight takes in a product of BLAS, zero or not.

Measured with 1024 instances, medians of calls in turn, nothing else running, two layers 30 to 100 % full (a virtual machine
with 2 processors, AMD EPYC of Zen 4, AVX-512; OpenBLAS 0.3.30, which did 49 billion multiply-adds a second a thread). One
product was as fast as a sparse layer of blocks at 58 % (1024 x 1024) and 60 % (784 x 300), and as fast as slices at 72 and 88
% with one thread, at 86 and 91 % with two. CPU times on the busy machine gave 60 and 69 % for 512 x 512 and 256 x 64 in
blocks, and 87 and more than 100 % beside slices. A quarter, where BLAS pays beside scalar code, is not enough here: vectors
of instances share each id, and so sparse layers have more than half of BLAS's rate.
"""

FULL_ENOUGH = 0.6
"""Share of its connections that a layer has at least to go through BLAS: about DENSE / SPARSE."""


def takes_blocks(kernel: str, network: NetworkOutline) -> bool:
    """Whether direct calls of a kernel take blocks and BLAS: the kernel fast does only where slices take longer."""
    if kernel != FULL:
        return kernel == ALL
    widths = [network.n_inputs, *(len(ends) - 1 for ends in network.ends)]
    blocks = slices = 0.0
    for n_inputs, n_outputs, ends in zip(widths, widths[1:], network.ends, strict=False):
        nnz = int(ends[-1])
        through_blas = goes_through_blas(kernel, n_inputs, n_outputs, nnz)
        blocks += DENSE * n_inputs * n_outputs if through_blas else SPARSE * nnz
        slices += SLICED * nnz
    return blocks < slices


def goes_through_blas(kernel: str, n_inputs: int, n_outputs: int, nnz: int) -> bool:
    """Whether a kernel takes a layer of that size as a dense matrix; other kernels than these take none."""
    return kernel == ALL or (kernel == FULL and 0 < FULL_ENOUGH * n_inputs * n_outputs <= nnz)


def dense_bytes(n_inputs: int, n_outputs: int) -> int:
    """Return the bytes of a layer's matrix: a row and a column for each row of a block, some of which hold no neuron."""
    return 4 * n_slots(n_inputs) * n_slots(n_outputs)


class BlasPacker(ColumnPacker):
    """Packs layers that go through BLAS as matrices of float32, the others by columns.

    ``Connections.start`` tells where a matrix begins in the weights; -1: the layer is sparse. A matrix has the outputs in their
    own order as rows, and rows and columns of zeros where blocks have rows without a neuron. Column pointers count the
    connections of the outputs, as of any layer.
    """

    def __init__(self, network: Network, *, kernel: str, grouped: bool = False, store: StoreMaker = memory_store) -> None:
        super().__init__(network, one_weight=True, grouped=grouped, store=store)
        self.kernel = kernel
        self.is_dense: list[bool] = []

    def groups_of(self, layer: AnyLayer) -> ColumnGroups | None:
        """Return the groups of a layer that stays sparse, if any."""
        through_blas = goes_through_blas(self.kernel, layer.n_inputs, layer.n_outputs, layer.nnz)
        return None if through_blas else super().groups_of(layer)

    def add_groups(self, groups: ColumnGroups) -> None:
        """Add a layer in groups."""
        self.is_dense.append(False)
        super().add_groups(groups)

    def add(self, layer: AnyLayer, stored: NDArray[np.int64] | None) -> None:
        """Add a layer; the outputs of one that goes through BLAS have no other order than their own."""
        self.is_dense.append(goes_through_blas(self.kernel, layer.n_inputs, layer.n_outputs, layer.nnz))
        if not self.is_dense[-1]:
            super().add(layer, stored)
            return
        full = layer.expanded()
        degrees = np.diff(full.indptr)
        even = len(degrees) > 0 and bool((degrees == degrees[0]).all())
        self.ids.add(np.empty(0, np.int64))
        self.weights.add(_matrix(full).reshape(-1), b"dense")
        self.weight_step.append(1)
        self.n_groups.append(0)
        self.degree.append(int(degrees[0]) if even else -1)
        self.indptr.add(None if even else full.indptr)
        for none in (self.column, self.offset, self.before):
            none.add(None)

    def pack(self) -> Connections:
        """Return what has been collected."""
        packed = super().pack()
        return packed._replace(start=np.where(self.is_dense, packed.weights_at, -1))


def _matrix(layer: Any) -> NDArray[np.float32]:
    """Return a layer's weights as float32 (slots of outputs, slots of inputs); those of merged inputs are added up."""
    require(
        2 * dense_bytes(layer.n_inputs, layer.n_outputs), f"storing {layer.n_inputs} x {layer.n_outputs} weights dense",
        "use a kernel with sparse layers (kernel=auto)",
    )  # fmt: skip
    matrix = np.zeros((n_slots(layer.n_outputs), n_slots(layer.n_inputs)), np.float32)
    columns = np.repeat(np.arange(layer.n_outputs), np.diff(layer.indptr))
    with np.errstate(over="ignore"):  # what is not finite then is refused as an output
        np.add.at(matrix, (columns + (columns >> SKEW_SHIFT), layer.indices + (layer.indices >> SKEW_SHIFT)), layer.values)
    return matrix
