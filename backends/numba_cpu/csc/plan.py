"""Plans runs with activations in CSC and sparse or dense layers (csc_csc, csc_udc)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.positions import entries_at
from backends.numba_cpu.csc.kernels import columns
from backends.numba_cpu.csc.kernels import layers as kernels
from backends.numba_cpu.kernels.team import Place
from backends.numba_cpu.layout.neurons import small_ids
from backends.numba_cpu.layout.packing import ColumnPacker, DensePacker
from backends.numba_cpu.plan import Format, Group, Plan, fits, n_entries, two_sides, with_room
from sparsednn.backend import CostKind, GroupResult, KernelOptions, MemoryBytes, PlanDescription, RunSize


class CscPlan(Plan):
    """A whole row group, layer by layer: symbolic, then numeric."""

    @classmethod
    def format_of(cls, kernel: str, options: KernelOptions) -> Format:
        """No columns are merged: this is the algorithm of the paper, column by column."""
        is_dense = kernel == "csc_udc"
        packer = DensePacker if is_dense else partial(ColumnPacker, one_weight=False)
        return Format(packer=packer, rows="none" if options.rows == "none" else "prune", is_dense=is_dense)

    def describe(self) -> PlanDescription:
        """Name the kernel and the optimisations that are on."""
        described = super().describe()
        described.optimizations.full_columns = self.options.full_columns
        described.optimizations.empty_columns = self.options.empty_columns
        return described

    @classmethod
    def cost_kind(cls, options: KernelOptions) -> CostKind:
        """Teams cut the columns; without any optimisation csc_csc is what the paper has, which is calibrated by itself."""
        as_in_paper = options.kernel == "csc_csc" and options.rows == "none" and not options.full_columns
        as_in_paper = as_in_paper and options.empty_columns == "walk"
        return CostKind("csc_csc/paper" if as_in_paper else options.kernel, "columns", prunes=options.rows != "none")

    @classmethod
    def memory_bytes(cls, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Dense layers; or ids, values and what they are joined of, of each column that differs from the others."""
        dense, sparse = 4 * size.neurons**2 * size.layers, (size.id_bytes + 4 + 4) * size.distinct_connections
        return MemoryBytes.plain(size)._replace(plan=dense if options.kernel == "csc_udc" else sparse)

    def open(self, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> Group:
        """Transpose the rows into columns."""
        n_rows = len(rows)
        work = self._memory(worker, n_rows, n_entries(inputs, rows))
        n_alive = kernels.load_columns(
            inputs.indptr, inputs.indices, inputs.data, rows, int(self.neurons.widths[0]),
            work.ids0, work.values0, work.start[0], work.n_entries[0], work.alive,
        )  # fmt: skip
        work.state[:] = 0
        work.state[columns.N_ROWS], work.state[columns.N_ALIVE], work.state[columns.NEEDED] = n_rows, n_alive, -1
        return Group(work, worker, n_rows, np.zeros(n_rows), wants_output=output)

    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run layers until the kernel has to leave; more room is made by the leader only."""
        own = self._accumulator(worker, group.n_rows)
        status: int = kernels.run_columns(
            net=self.neurons, conn=self.connections, is_dense=self.format.is_dense, prune=self.prune,
            full_columns=self.options.full_columns, skip_empty=self.options.empty_columns == "skip",
            work=group.work, own=own, place=place,
        )  # fmt: skip
        return status

    def grow(self, group: Group) -> None:
        """Make more room for the next matrix; what was there is not needed any more."""
        state = group.work.state
        group.work = self.memory[group.worker] = with_room(group.work, int(state[columns.NEEDED]), int(state[columns.SIDE]))

    def close(self, group: Group) -> GroupResult:
        """Add up the rows."""
        work, state = group.work, group.work.state
        side, last = int(state[columns.SIDE]), self.neurons.last
        through = state[columns.LAYER] == len(self.neurons.low)
        ids, values = (work.ids1, work.values1) if side else (work.ids0, work.values0)
        start, n_entries = self._columns(work, side) if through else np.zeros((2, self.widest), np.int64)  # else all rows died
        start, stop = start[last], start[last] + n_entries[last]
        kernels.sum_columns(len(last), ids, values, start, stop, work.rows, group.sums)
        output = _to_csr(ids, values, start, stop, work.rows, group.n_rows) if group.wants_output else None
        return GroupResult(group.sums, int(state[columns.TOTAL_OPS]), output)

    def _columns(self, work: Any, side: int) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
        """Return where the entries of each column of a matrix start, and how many there are."""
        return work.start[side], work.n_entries[side]

    def _memory(self, worker: int, n_rows: int, nnz: int) -> Any:
        """The worker's memory for a row group of its own, made anew if it is too small or for another index type."""
        work, id_type = self.memory[worker], small_ids(max(n_rows - 1, 0))
        if not fits(work, n_rows, nnz, id_type):
            work = self.memory[worker] = self._work(
                start=np.zeros((2, self.widest), np.int64),
                n_entries=np.zeros((2, self.widest), np.int32),
                room=np.zeros(self.widest, np.int64),
                ops=np.zeros(self.widest, np.int64),
                **two_sides(nnz, id_type),
                rows=np.empty(n_rows, np.int64),
                reached=np.zeros(n_rows, np.int32),
                alive=np.zeros(n_rows, np.int32),
                renumbered=np.zeros(n_rows, np.int32),
                state=np.zeros(columns.N_STATE, np.int64),
            )
        work.rows[:n_rows] = np.arange(n_rows)
        work.reached[:] = 0
        return work

    def _work(self, **arrays: NDArray[Any]) -> Any:
        """Return the kernel's tuple of such arrays."""
        return columns.ColumnWork(**arrays)

    def _accumulator(self, worker: int, n_rows: int) -> Any:
        """The worker's accumulator, made anew if it is too small for this row group."""
        own = self.accumulators[worker]
        if own is None or len(own.sums) < n_rows:
            own = self.accumulators[worker] = self._empty_accumulator(
                sums=np.zeros(n_rows, np.float32),
                marks=np.zeros(n_rows, np.int32),
                touched=np.zeros(n_rows + 1, np.int32),
                stamp=np.zeros(1, np.int32),
            )
        return own

    def _empty_accumulator(self, **arrays: NDArray[Any]) -> Any:
        """Return the kernel's tuple of such arrays."""
        return columns.ColumnAccumulator(**arrays)


def _to_csr(
    ids: NDArray[np.unsignedinteger],
    values: NDArray[np.float32],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    rows: NDArray[np.int64],
    n_rows: int,
) -> sp.csr_array:
    """Bring columns with gaps between them into a csr_array."""
    counts = stop - start
    neurons = np.repeat(np.arange(len(counts)), counts)
    at = entries_at(start, stop)
    csr = sp.csr_array((values[at], (rows[ids[at]], neurons)), shape=(n_rows, len(counts)), dtype=np.float32)
    csr.sort_indices()
    return csr
