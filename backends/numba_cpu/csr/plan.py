"""Plans runs with activations and layers in CSR (csr_csr)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.positions import entries_at
from backends.numba_cpu.csr.kernels import layers as kernels
from backends.numba_cpu.csr.kernels import rows as csr
from backends.numba_cpu.kernels.team import Place
from backends.numba_cpu.layout.packing import RowPacker
from backends.numba_cpu.plan import Format, Group, Plan, fits, n_entries, two_sides, with_room
from sparsednn.backend import CostKind, GroupResult, KernelOptions, MemoryBytes, RunSize


class CsrPlan(Plan):
    """A whole row group, layer by layer, row by row."""

    @classmethod
    def format_of(cls, kernel: str, options: KernelOptions) -> Format:
        """No columns are merged: terms are added in the order of the neurons, which merging changes."""
        return Format(packer=RowPacker, rows="none" if options.rows == "none" else "prune")

    @classmethod
    def cost_kind(cls, options: KernelOptions) -> CostKind:
        """Teams cut the rows."""
        return CostKind(options.kernel, "rows", prunes=options.rows != "none")

    @classmethod
    def memory_bytes(cls, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Every connection with its value: rows are joined, values are not."""
        return MemoryBytes.plain(size, 2 * size.id_bytes + 4)

    def open(self, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> Group:
        """Copy the rows."""
        n_rows = len(rows)
        work = self._memory(worker, n_rows, n_entries(inputs, rows))
        kernels.load_rows(
            inputs.indptr, inputs.indices, inputs.data, rows, work.ids0, work.values0, work.start[0], work.stop[0]
        )
        work.state[:] = 0
        work.state[csr.N_ROWS] = n_rows
        return Group(work, worker, n_rows, np.zeros(n_rows), wants_output=output)

    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run layers until the kernel has to leave; more room is made by the leader only."""
        status: int = kernels.run_rows(
            net=self.neurons, conn=self.connections, prune=self.prune, work=group.work, own=self._accumulator(worker),
            place=place,
        )  # fmt: skip
        return status

    def grow(self, group: Group) -> None:
        """Make more room for the next matrix; what was there is not needed any more."""
        state = group.work.state
        group.work = self.memory[group.worker] = with_room(group.work, int(state[csr.NEEDED]), int(state[csr.SIDE]))

    def close(self, group: Group) -> GroupResult:
        """Add up the rows."""
        work, state = group.work, group.work.state
        side, n_kept = int(state[csr.SIDE]), int(state[csr.N_ROWS])
        ids, values = (work.ids1, work.values1) if side else (work.ids0, work.values0)
        start, stop = work.start[side, :n_kept], work.stop[side, :n_kept]
        kernels.sum_rows(n_kept, start, stop, values, work.rows, group.sums)
        output = None
        if group.wants_output:
            counts = np.zeros(group.n_rows, np.int64)
            counts[work.rows[:n_kept]] = stop - start
            full = np.concatenate([[0], np.cumsum(counts)])
            at = entries_at(start, stop)
            shape = (group.n_rows, int(self.neurons.widths[-1]))
            output = sp.csr_array((values[at], ids[at].astype(np.int32), full), shape=shape)
        return GroupResult(group.sums, int(state[csr.TOTAL_OPS]), output)

    def _memory(self, worker: int, n_rows: int, nnz: int) -> csr.RowWork:
        """The worker's memory, made anew if it is too small."""
        work, id_type = self.memory[worker], self.connections.ids.dtype.type
        if not fits(work, n_rows, nnz, id_type):
            work = self.memory[worker] = csr.RowWork(
                start=np.zeros((2, n_rows), np.int64),
                stop=np.zeros((2, n_rows), np.int64),
                **two_sides(nnz, id_type),
                rows=np.empty(n_rows, np.int64),
                state=np.zeros(csr.N_STATE, np.int64),
            )
        work.rows[:n_rows] = np.arange(n_rows)
        return work  # type: ignore[no-any-return]

    def _accumulator(self, worker: int) -> csr.RowAccumulator:
        if self.accumulators[worker] is None:
            n_blocks = (self.widest >> csr.BLOCK_SHIFT) + 1
            self.accumulators[worker] = csr.RowAccumulator(
                sums=np.zeros(n_blocks << csr.BLOCK_SHIFT, np.float32), touched=np.zeros(n_blocks, np.uint8)
            )
        return self.accumulators[worker]  # type: ignore[no-any-return]
