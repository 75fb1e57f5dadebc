"""Plans runs in which layers go through BLAS: all (kernel blas), or those that are full enough (kernel fast).

A sum is added up in BLAS's own order, so results are near those of the other kernels, not the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from backends.common.blas_threads import one_blas_thread
from backends.numba_cpu.dense.blas_layers import ALL, BlasPacker, dense_bytes, goes_through_blas
from backends.numba_cpu.dense.kernels.pools import FirstLayer
from backends.numba_cpu.dense.plan import DensePlan
from backends.numba_cpu.kernels.team import Place
from backends.numba_cpu.plan import Format, Group
from sparsednn.backend import CostKind, KernelOptions, MemoryBytes, PlanDescription, RunSize, StoredLayout, tolerance_of
from sparsednn.network import Network


class BlasPlan(DensePlan):
    """Blocks of instances, with products of BLAS where layers are dense. Each worker calls it for itself, with one thread."""

    @classmethod
    def format_of(cls, kernel: str, options: KernelOptions) -> Format:
        """As of sparse layers; none can be read from files."""
        return Format(
            packer=partial(BlasPacker, kernel=kernel, grouped=kernel != ALL and options.order == "shared_inputs"),
            rows=options.rows,
            columns=options.columns,
            order="given" if kernel == ALL else options.order,
        )

    @classmethod
    def cost_kind(cls, options: KernelOptions) -> CostKind:
        """Blocks; it is not calibrated."""
        return super().cost_kind(options)._replace(parameters=options.kernel)

    @classmethod
    def memory_bytes(cls, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Dense matrices if layers are full enough, which are there twice while they are put together."""
        as_sparse = super().memory_bytes(size, options)
        outputs = size.distinct_outputs if options.columns == "merge" else size.neurons
        nnz = size.connections // max(size.layers, 1)
        if not goes_through_blas(options.kernel, size.neurons, size.neurons, nnz):
            return as_sparse
        layers = dense_bytes(size.neurons, outputs) + (size.layers - 1) * dense_bytes(outputs, outputs)
        return as_sparse._replace(plan=2 * layers)

    def describe(self) -> PlanDescription:
        """Say how near results are, too."""
        return replace(super().describe(), tolerance=self.tolerance)

    @property
    def tolerance(self) -> float | None:
        """How near results are to exact ones, as a share of the largest output; None if no layer goes through BLAS."""
        return tolerance_of(len(self.neurons.low)) if (self.connections.start >= 0).any() else None

    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run blocks until the kernel has to leave."""
        with one_blas_thread():
            return super().run(group, place, worker)

    def _first_layer(self, network: Network | StoredLayout) -> FirstLayer:
        """As of kernel rowwise_first, where the first layer is sparse."""
        found = super()._first_layer(network)
        if isinstance(network, StoredLayout) or self.connections.start[0] < 0:
            return found
        return FirstLayer(indptr=np.zeros(1, np.int64), ids=found.ids[:0], weights=found.weights[:0])
