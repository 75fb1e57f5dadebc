"""Dense blocks of activations with sparse or dense layers (adaptive, udc_csc, udc_udc)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.row_results import checkpoints, in_row_order, origins
from backends.numba_cpu.dense.kernels import blocks as kernels
from backends.numba_cpu.dense.kernels import pools as blocks
from backends.numba_cpu.dense.kernels import simd
from backends.numba_cpu.dense.kernels.filling import TILE
from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.kernels.team import Place
from backends.numba_cpu.layout.packing import ColumnPacker, DensePacker, StoreMaker
from backends.numba_cpu.plan import GROWTH, Group, Plan, aligned_floats
from sparsednn.backend import CostKind, GroupResult, KernelOptions, MemoryBytes, PlanDescription, RunSize
from sparsednn.network import Network
from sparsednn.system.memory import cache_bytes

BLOCK_ROWS, WIDE_BLOCK_ROWS, FEWEST_ROWS = 128, 256, 32
"""Instances in a block unless told otherwise: the most; the most where vectors are wide and two such blocks fit into the
second-level cache; and the fewest, where more would not fit."""

ENTRY_COST, OUTPUT_COST, INPUT_COST, SPREAD_COST = 20, 20, 2, 60
"""What the first layer takes for an instance, in multiply-adds of a dense block: each connection of one of its entries, when it
goes by rows, and each output; each input of a dense block, and each entry that is spread out into one."""

PITCH_EXTRA = 16
"""Floats left free after each instance's sums: instances a power of two apart would fall into the same few cache sets."""

BLOCK_UNIT = 16
"""Blocks, and halves of blocks in pools, are made of whole vectors."""


class DensePlan(Plan):
    """Blocks of instances, depth first through the layers."""

    row_unit = simd.LANES

    def order(self, options: KernelOptions) -> str:
        """As asked for, with sparse layers; dense layers share all their inputs."""
        return options.order if self.kernel != "udc_udc" else "given"

    def row_work(self, options: KernelOptions) -> str:
        """As asked for."""
        return options.rows

    def column_work(self, options: KernelOptions) -> str:
        """As asked for, with sparse layers; dense layers have no connections to lead elsewhere."""
        return options.columns if self.kernel != "udc_udc" else "none"

    def __init__(self, network: Network, kernel: str, options: KernelOptions, n_workers: int) -> None:
        self.is_dense = kernel == "udc_udc"
        self.streams = not self.is_dense
        super().__init__(network, kernel, options, n_workers)
        self.first_layer = self._first_layer(network)
        wanted = options.block_rows or self._fitting_rows()
        self.block_rows = -(-wanted // BLOCK_UNIT) * BLOCK_UNIT
        self.checkpoints = checkpoints(len(network.layers)) if self.prune else np.zeros(0, np.int64)

    def packer(self, network: Network, store: StoreMaker) -> DensePacker | ColumnPacker:
        """By columns, sparse or dense."""
        return DensePacker(network) if self.is_dense else ColumnPacker(network, one_weight=True, store=store)

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
        by_rows = options.kernel == "adaptive" and options.columns != "none"
        parameters = "udc_csc" if options.kernel == "adaptive" and not by_rows else options.kernel
        return CostKind(parameters, "blocks", options.rows != "none", options.block_rows, cls.row_unit, by_rows)

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

    def open(self, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, output: bool) -> Group:
        """Point at the rows: blocks are filled as they are run."""
        work = self._memory(worker)
        if self.reader is not None:
            self.reader.begin(worker)
        work.state[:] = 0
        work.pool_count[:] = 0
        sums = np.zeros(len(rows))
        retired = np.zeros(len(rows) if output else 0, np.uint8)
        twin = np.full(len(rows) if self.options.rows == "merge" else 0, -1)
        where = blocks.Rows(inputs.indptr, inputs.indices, inputs.data, rows, sums, retired, twin)
        return Group(
            work, worker, len(rows), sums, output, [where, _output(len(rows) if output else 0), self._by_rows(inputs, rows)]
        )

    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run blocks until the kernel has to leave."""
        where, output, by_rows = group.extra
        status: int = kernels.run_blocks(
            self.neurons,
            self.connections,
            self.first_layer,
            self.is_dense,
            self.prune,
            by_rows,
            where,
            group.work,
            self._column(worker),
            output,
            self._stream(group.worker),
            place,
        )
        if self.reader is not None:
            self.reader.require_undamaged()
        return status

    def grow(self, group: Group) -> None:
        """Make more room for the output."""
        group.extra[1] = _with_room(group.extra[1], self.widest * self.block_rows)

    def close(self, group: Group) -> GroupResult:
        """Bring the output, finished block by block, into the order of the rows."""
        state, where, output = group.work.state, group.extra[0], None
        if self.reader is not None:
            self.reader.end(group.worker, float(state[blocks.WAITED_NS]) * 1e-9)
        origin = origins(where.twin, group.n_rows)
        group.sums = group.sums[origin]
        if group.wants_output:
            output = self._rows_in_order(group)[origin]
        return GroupResult(group.sums, int(state[blocks.TOTAL_OPS]), output)

    def _rows_in_order(self, group: Group) -> sp.csr_array:
        stored = group.extra[1]
        n_stored = int(group.work.state[blocks.OUTPUT_ROWS])
        indptr = stored.indptr[: n_stored + 1]
        shape = (n_stored, len(self.neurons.last))
        finished = sp.csr_array((stored.values[: indptr[-1]], stored.indices[: indptr[-1]], indptr), shape=shape)
        return in_row_order(finished, stored.ids[:n_stored], group.extra[0].retired != 0, float(self.neurons.high[-1]))

    def _memory(self, worker: int) -> blocks.BlockWork:
        if self.memory[worker] is None:
            self.memory[worker] = block_memory(self.widest, self.block_rows, self.checkpoints)
        return self.memory[worker]  # type: ignore[no-any-return]

    def _fitting_rows(self) -> int:
        """As many instances as fill half of the second-level cache, in layers whose columns share no inputs."""
        widths = self.neurons.widths[1:]
        apart = widths if self.is_dense else widths[self.connections.column_at < 0]
        fitting = cache_bytes(2) // 2 // (4 * int(apart.max(initial=1))) // FEWEST_ROWS * FEWEST_ROWS
        wide = simd.WIDEST_TILE == BLOCK_ROWS and 2 * 4 * self.widest * WIDE_BLOCK_ROWS <= cache_bytes(2)
        return min(max(fitting, FEWEST_ROWS), WIDE_BLOCK_ROWS if wide else BLOCK_ROWS)

    def _first_layer(self, network: Network) -> blocks.FirstLayer:
        """The first layer by rows, for the adaptive kernel; nothing if some column's entries are not in ascending order."""
        ids, columns = self.connections.ids.dtype, self.first_layer_of(network).to_scipy()
        if self.kernel != "adaptive" or not columns.has_sorted_indices:
            return blocks.FirstLayer(np.zeros(1, np.int64), np.empty(0, ids), np.empty(0, np.float32))
        rows = columns.tocsr()
        return blocks.FirstLayer(rows.indptr.astype(np.int64), rows.indices.astype(ids), rows.data)

    def _stream(self, worker: int) -> kernels.Stream:
        """What a kernel is to wait for; nothing where all layers are in memory."""
        if self.reader is None:
            return kernels.Stream(np.empty(0, np.int64), np.empty(0, np.int64))
        return kernels.Stream(self.reader.ready, self.reader.at[worker])

    def _by_rows(self, inputs: sp.csr_array, rows: NDArray[np.int64]) -> bool:
        """Whether the first layer goes by rows."""
        if not len(self.first_layer.ids) or not len(rows):
            return False
        n_inputs, n_outputs = self.neurons.widths[:2]
        entries = (inputs.indptr[rows + 1] - inputs.indptr[rows]).sum(dtype=np.int64) / len(rows)
        n_connections = int(self.n_connections[0])
        by_rows = entries * len(self.first_layer.ids) / n_inputs * ENTRY_COST + n_outputs * OUTPUT_COST
        dense = n_inputs * INPUT_COST + entries * SPREAD_COST + n_connections
        return bool(by_rows < dense)

    def _column(self, worker: int) -> blocks.Column:
        if self.accumulators[worker] is None:
            n = self.widest if self.is_dense else 0
            pitch = int(self.neurons.widths[1]) + PITCH_EXTRA if len(self.first_layer.ids) else 0
            self.accumulators[worker] = blocks.Column(
                np.empty(n, self.connections.ids.dtype),
                np.empty(n, np.float32),
                aligned_floats(TILE * pitch),
                np.empty(1 << (2 * self.block_rows).bit_length(), np.int32),
            )
        return self.accumulators[worker]  # type: ignore[no-any-return]


def block_memory(widest: int, block_rows: int, checkpoints: NDArray[np.int64]) -> blocks.BlockWork:
    """Return the memory for one block, its successor, and a pool of half a block for each checkpoint."""
    n_pools, n_floats = len(checkpoints), n_slots(widest) * block_rows
    return blocks.BlockWork(
        blocks=aligned_floats(2 * n_floats).reshape(2, n_floats),
        ids=np.empty((2, block_rows), np.int64),
        pools=aligned_floats(n_pools * (n_floats // 2)).reshape(n_pools, n_floats // 2),
        pool_ids=np.empty((n_pools, block_rows // 2), np.int64),
        pool_count=np.zeros(n_pools, np.int64),
        checkpoints=checkpoints,
        alive=np.empty(block_rows, np.int32),
        below=np.empty(block_rows, np.int32),
        vectors=np.empty((2, block_rows // simd.LANES), np.int32),
        state=np.zeros(blocks.N_STATE, np.int64),
    )


def _output(n_rows: int) -> kernels.Output:
    return kernels.Output(
        np.empty(n_rows, np.int64), np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)
    )


def _with_room(output: kernels.Output, at_least: int) -> kernels.Output:
    """Return the same output with room for one more block."""
    n = int(len(output.indices) * GROWTH) + at_least
    indices, values = np.empty(n, np.int32), np.empty(n, np.float32)
    indices[: len(output.indices)], values[: len(output.values)] = output.indices, output.values
    return output._replace(indices=indices, values=values)
