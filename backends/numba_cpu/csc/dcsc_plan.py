"""Plans runs with activations in doubly compressed sparse columns and layers in CSC (dcsc_csc)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.numba_cpu.csc.kernels import dcsc_layers as kernels
from backends.numba_cpu.csc.kernels.hypersparse import STORED, WORD_BITS, DoublyCompressedWork, HypersparseAccumulator
from backends.numba_cpu.csc.plan import CscPlan
from backends.numba_cpu.kernels.team import Place
from backends.numba_cpu.plan import Group
from sparsednn.backend import CostKind, KernelOptions, PlanDescription


class DcscPlan(CscPlan):
    """A whole row group, layer by layer, of which only columns with an entry are stored.

    There is room for all columns, whose memory is not touched while there are few.
    """

    def describe(self) -> PlanDescription:
        """Name the kernel and the optimisations that are on; a full column is added as any other."""
        described = super().describe()
        described.optimizations.full_columns, described.optimizations.empty_columns = False, "skip"
        return described

    @classmethod
    def cost_kind(cls, options: KernelOptions) -> CostKind:
        """Teams cut the columns."""
        return CostKind(options.kernel, "columns", prunes=options.rows != "none")

    def open(self, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> Group:
        """Transpose the rows into columns, and leave out those without an entry."""
        group = super().open(inputs, rows, worker, output=output)
        kernels.compress_inputs(int(self.neurons.widths[0]), group.work)
        return group

    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run layers until the kernel has to leave; more room is made by the leader only."""
        own = self._accumulator(worker, group.n_rows)
        status: int = kernels.run_stored_columns(
            net=self.neurons, conn=self.connections, prune=self.prune, work=group.work, own=own, place=place
        )
        return status

    def _columns(self, work: DoublyCompressedWork, side: int) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
        """Return where the entries of each column of a matrix start, and how many there are: none of one that is not stored."""
        stored = slice(0, int(work.state[STORED + side]))
        at = work.columns[side, stored]
        start, n_entries = np.zeros((2, self.widest), np.int64)
        start[at], n_entries[at] = work.start[side, stored], work.n_entries[side, stored]
        return start, n_entries

    def _work(self, **arrays: NDArray[Any]) -> DoublyCompressedWork:
        """Return the kernel's tuple of such arrays, and the index of stored columns."""
        n_words = -(-self.widest // WORD_BITS)
        return DoublyCompressedWork(
            columns=np.zeros((2, self.widest), self.connections.ids.dtype),
            occupied=np.zeros((2, n_words), np.uint64),
            before=np.zeros((2, n_words), np.int32),
            **arrays,
        )

    def _empty_accumulator(self, **arrays: NDArray[Any]) -> HypersparseAccumulator:
        """Return the kernel's tuple of such arrays, and room for the connections of a column."""
        return HypersparseAccumulator(hits=np.zeros(self.widest + 1, np.int32), slots=np.zeros(self.widest, np.int32), **arrays)
