"""The work that rows will be, counted by running them once."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.numba_cpu.dense.kernels import pools as blocks
from backends.numba_cpu.dense.kernels.profile import count_blocks
from backends.numba_cpu.dense.plan import DensePlan, block_memory
from backends.numba_cpu.plan import Plan, aligned_floats
from sparsednn.errors import OptionError


def count_nonzeros(plan: Plan, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """See `sparsednn.backend.ProfilingBackend.profile`; for plans of kernel udc_csc. May be called by many threads at once.

    Raises
    ------
    ValueError
        For a plan of another kernel.
    """
    if not isinstance(plan, DensePlan) or plan.is_dense:
        raise OptionError(f"kernel={plan.kernel}: profiles are made with kernel=udc_csc")
    counts = np.zeros((len(plan.neurons.low) + 1, len(rows)), np.int32)
    where = blocks.Rows(
        inputs.indptr, inputs.indices, inputs.data, rows, np.zeros(0), np.zeros(0, np.uint8), np.zeros(0, np.int64)
    )
    column = blocks.Column(
        np.empty(0, plan.connections.ids.dtype), np.empty(0, np.float32), aligned_floats(0), np.empty(0, np.int32)
    )
    widths = plan.neurons.widths[1:]
    stands_for = [np.ones(n, np.int32) for n in widths] if plan.stands_for is None else plan.stands_for
    starts = np.cumsum(widths) - widths
    count_blocks(
        plan.neurons,
        plan.connections,
        np.concatenate(stands_for),
        starts,
        where,
        block_memory(plan.widest, plan.block_rows, np.zeros(0, np.int64)),
        column,
        counts,
    )
    return counts
