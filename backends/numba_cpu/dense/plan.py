"""Plans runs with dense blocks of activations and sparse or dense layers (rowwise_first, udc_csc, udc_udc)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.row_results import checkpoints, in_row_order, origins
from backends.numba_cpu.dense.kernels import blocks as kernels
from backends.numba_cpu.dense.kernels import pools as blocks
from backends.numba_cpu.dense.kernels import simd
from backends.numba_cpu.dense.kernels.filling import BAND, TILE
from backends.numba_cpu.dense.memory import block_memory, far_bytes, larger, no_output, wide_weights, with_rows
from backends.numba_cpu.kernels.team import Place
from backends.numba_cpu.layout.arrays import join
from backends.numba_cpu.layout.packing import ColumnPacker, DensePacker
from backends.numba_cpu.plan import Format, Group, Plan, aligned_floats, n_entries
from sparsednn.backend import CostKind, GroupResult, KernelOptions, MemoryBytes, PlanDescription, RunSize, StoredLayout
from sparsednn.network import Network, ShiftedLayer
from sparsednn.system.memory import cache_bytes

BLOCK_ROWS, WIDE_BLOCK_ROWS, FEWEST_ROWS = 128, 256, 32
"""Instances in a block unless told otherwise: the most; the most where vectors are wide and two such blocks fit into the
second-level cache; and the fewest, where more would not fit."""

ENTRY_COST, OUTPUT_COST, INPUT_COST, SPREAD_COST = 20, 20, 2, 60
"""Costs of the first layer for an instance, in multiply-adds of a dense block: each connection of one of its entries, when it
goes by rows, and each output; each input of a dense block, and each entry that is spread out into one."""

PITCH_EXTRA = 16
"""Floats left free after each instance's sums: instances a power of two apart would fall into the same few cache sets."""

BY_ROWS = ("rowwise_first", "fast")  # kernels whose first layer may go by rows

BLOCK_UNIT = 16
"""Blocks, and halves of blocks in pools, are made of whole vectors."""


@dataclass(slots=True)
class DenseGroup(Group):
    """A row group that goes through the layers block by block.

    Attributes
    ----------
    output : Output
        The last activations of the instances that are through; made larger as they come.
    by_rows : bool
        Whether its instances go through the first layer entry by entry.
    """

    output: kernels.Output
    by_rows: bool


class DensePlan(Plan):
    """Blocks of instances, depth first through the layers."""

    row_unit = simd.LANES

    def __init__(self, network: Network | StoredLayout, kernel: str, options: KernelOptions, n_workers: int) -> None:
        super().__init__(network, kernel, options, n_workers)
        self.first_layer = self._first_layer(network)
        wanted = options.block_rows or self._fitting_rows()
        self.block_rows = -(-wanted // BLOCK_UNIT) * BLOCK_UNIT
        self.checkpoints = checkpoints(len(self.neurons.low)) if self.prune else np.zeros(0, np.int64)

    @classmethod
    def format_of(cls, kernel: str, options: KernelOptions) -> Format:
        """Sparse layers go with all optimisations; dense ones share all their inputs, and no column can be merged."""
        if kernel == "udc_udc":
            return Format(packer=DensePacker, rows=options.rows, is_dense=True)
        grouped, weights = options.order == "shared_inputs", options.weights
        return Format(
            packer=partial(ColumnPacker, one_weight=True, shifts=True, grouped=grouped, weights=weights),
            rows=options.rows, columns=options.columns, order=options.order, streams=True, weights=weights,
        )  # fmt: skip

    def _stored_beside(self) -> dict[str, Any]:
        """The first layer by rows."""
        return {"first_layer": self.first_layer}

    def describe(self) -> PlanDescription:
        """Name the kernel, the optimisations that are on and the block's size."""
        described = super().describe()
        described.optimizations.block_rows = self.block_rows
        return described if self.reader is None else replace(described, stream=self.reader.record())

    def warm_up(self, empty: sp.csr_array) -> None:
        """Compile; what this reads of the layers does not count."""
        super().warm_up(empty)
        if self.reader is not None:
            self.reader.reset()

    @classmethod
    def cost_kind(cls, options: KernelOptions) -> CostKind:
        """Blocks; where no columns are merged, few inputs are sparse enough to be taken through the first layer by rows."""
        by_rows = options.kernel == "rowwise_first" and options.columns != "none"
        parameters = "udc_csc" if options.kernel == "rowwise_first" and not by_rows else options.kernel
        return CostKind(
            parameters, "blocks", prunes=options.rows != "none", block_rows=options.block_rows, row_unit=cls.row_unit,
            loads_by_rows=by_rows,
        )  # fmt: skip

    @classmethod
    def memory_bytes(cls, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Dense layers, or ids of columns that differ; two blocks a thread, and pools.

        Pools hold half a block at about two layers for every doubling of depth, where rests of blocks wait to be joined.
        """
        outputs = size.distinct_outputs if options.columns == "merge" else size.neurons
        if options.kernel == "udc_udc":
            plan = 4 * size.neurons**2 * size.layers
        elif options.stream_from is not None:
            plan = 0
        else:
            plan = 2 * size.id_bytes * size.distinct_connections + size.id_bytes * outputs * size.layers
        rows = min(options.block_rows or BLOCK_ROWS, size.instances)
        pools = 0 if options.rows == "none" else 2 * size.layers.bit_length()
        return MemoryBytes(plan, size.threads * 4 * rows * (2 * size.neurons + pools * outputs // 2))

    def open(self, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> DenseGroup:
        """Point at the rows: blocks are filled as they are run."""
        if self.reader is not None:
            self.reader.begin(worker)
        n_rows = len(rows)
        work = with_rows(self._memory(worker), inputs, rows, output=output, merges=self.format.rows == "merge")
        return DenseGroup(
            work, worker, n_rows, work.sums, wants_output=output, output=no_output(n_rows if output else 0),
            by_rows=self._by_rows(inputs, rows),
        )  # fmt: skip

    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run blocks until the kernel has to leave."""
        assert isinstance(group, DenseGroup)
        status: int = kernels.run_blocks(
            net=self.neurons,
            conn=self.connections,
            first_layer=self.first_layer,
            is_dense=self.format.is_dense,
            prune=self.prune,
            by_rows=group.by_rows,
            work=group.work,
            column=self._column(worker),
            output=group.output,
            stream=self._stream(group.worker),
            place=place,
        )
        if self.reader is not None:
            self.reader.require_undamaged()
        return status

    def grow(self, group: Group) -> None:
        """Make more room for the output."""
        assert isinstance(group, DenseGroup)
        group.output = larger(group.output, self.widest * self.block_rows)

    def close(self, group: Group) -> GroupResult:
        """Bring the output, finished block by block, into the order of the rows."""
        assert isinstance(group, DenseGroup)
        state, output = group.work.state, None
        if self.reader is not None:
            self.reader.end(group.worker, float(state[blocks.WAITED_NS]) * 1e-9)
        origin = origins(group.work.twin, group.n_rows)
        group.sums = group.sums[origin]
        if group.wants_output:
            output = self._rows_in_order(group)[origin]
        return GroupResult(group.sums, int(state[blocks.TOTAL_OPS]), output)

    def _rows_in_order(self, group: DenseGroup) -> sp.csr_array:
        """The last activations, in the order of the rows."""
        stored = group.output
        n_stored = int(group.work.state[blocks.OUTPUT_ROWS])
        indptr = stored.indptr[: n_stored + 1]
        shape = (n_stored, len(self.neurons.last))
        finished = sp.csr_array((stored.values[: indptr[-1]], stored.indices[: indptr[-1]], indptr), shape=shape)
        return in_row_order(finished, stored.ids[:n_stored], group.work.retired != 0, float(self.neurons.high[-1]))

    def _memory(self, worker: int) -> blocks.BlockWork:
        """The worker's blocks, with no rows in them."""
        if self.memory[worker] is None:
            self.memory[worker] = block_memory(self.widest, self.block_rows, self.checkpoints)
        return self.memory[worker]  # type: ignore[no-any-return]

    def _fitting_rows(self) -> int:
        """As many instances as fill half of the second-level cache, in layers whose columns share no inputs."""
        widths = self.neurons.widths[1:]
        conn = self.connections
        if not self.format.is_dense:
            apart = ((conn.column_at < 0) & (conn.n_groups == 0)) | (conn.offset_at >= 0)
            widths = widths[apart]
        fitting = cache_bytes(2) // 2 // (4 * int(widths.max(initial=1))) // FEWEST_ROWS * FEWEST_ROWS
        wide = simd.WIDEST_TILE == BLOCK_ROWS and 2 * 4 * self.widest * WIDE_BLOCK_ROWS <= cache_bytes(2)
        return min(max(fitting, FEWEST_ROWS), WIDE_BLOCK_ROWS if wide else BLOCK_ROWS)

    def _first_layer(self, network: Network | StoredLayout) -> blocks.FirstLayer:
        """The first layer by rows, for kernels that take it so; nothing if it is shifted, or its columns do not ascend."""
        if isinstance(network, StoredLayout):
            return join("first_layer", blocks.FirstLayer, network)
        ids, layer = self.connections.ids.dtype, self.first_layer_of(network)
        columns = None if self.kernel not in BY_ROWS or isinstance(layer, ShiftedLayer) else layer.to_scipy()
        if columns is None or not columns.has_sorted_indices:
            return blocks.FirstLayer(indptr=np.zeros(1, np.int64), ids=np.empty(0, ids), weights=np.empty(0, np.float32))
        rows = columns.tocsr()
        return blocks.FirstLayer(indptr=rows.indptr.astype(np.int64), ids=rows.indices.astype(ids), weights=rows.data)

    def _stream(self, worker: int) -> kernels.LayerStream:
        """Return the state of layers for which a worker's kernel waits; empty where all layers are in memory."""
        if self.reader is None:
            return kernels.LayerStream(ready=np.empty(0, np.int64), at=np.empty(0, np.int64))
        return kernels.LayerStream(ready=self.reader.ready, at=self.reader.at[worker])

    def _by_rows(self, inputs: sp.csr_array, rows: NDArray[np.int64]) -> bool:
        """Whether the first layer goes by rows."""
        if not len(self.first_layer.ids) or not len(rows):
            return False
        n_inputs, n_outputs = self.neurons.widths[:2]
        entries = n_entries(inputs, rows) / len(rows)
        n_connections = int(self.n_connections[0])
        by_rows = entries * len(self.first_layer.ids) / n_inputs * ENTRY_COST + n_outputs * OUTPUT_COST
        dense = n_inputs * INPUT_COST + entries * SPREAD_COST + n_connections
        return bool(by_rows < dense)

    def _column(self, worker: int) -> blocks.Column:
        """The worker's scratch."""
        if self.accumulators[worker] is None:
            n = self.widest if self.format.is_dense else 0
            pitch = int(self.neurons.widths[1]) + PITCH_EXTRA if len(self.first_layer.ids) else 0
            self.accumulators[worker] = blocks.Column(
                ids=np.empty(n, self.connections.ids.dtype),
                weights=np.empty(n, np.float32),
                sums=aligned_floats(TILE * pitch),
                band=aligned_floats(TILE * BAND),
                table=np.empty(1 << (2 * self.block_rows).bit_length(), np.int32),
                far_bytes=far_bytes(),
                wide=wide_weights(self.connections),
            )
        return self.accumulators[worker]  # type: ignore[no-any-return]
