"""Counts the work of rows by running them once through the dense blocks."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.numba_cpu.dense.kernels import pools as blocks
from backends.numba_cpu.dense.kernels.filling import BAND, TILE
from backends.numba_cpu.dense.kernels.profile import count_blocks
from backends.numba_cpu.dense.memory import block_memory, far_bytes, wide_weights, with_rows
from backends.numba_cpu.dense.plan import DensePlan
from backends.numba_cpu.plan import Plan, aligned_floats
from sparsednn.errors import OptionError


def count_nonzeros(plan: Plan, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return how many activations of each row are nonzero before each layer and after the last; for plans of kernel udc_csc.

    Parameters
    ----------
    plan : Plan
    inputs : csr_array of float32, canonical
    rows : int64 array, shape (n_rows,)
        Rows of `inputs`, ascending.

    Returns
    -------
    int32 array, shape (n_layers + 1, n_rows)
        Many threads may call this at once.

    Raises
    ------
    ValueError
        For a plan of another kernel.
    """
    if not isinstance(plan, DensePlan) or plan.format.is_dense:
        raise OptionError(f"kernel={plan.kernel}: profiles are made with kernel=udc_csc")
    counts = np.zeros((len(plan.neurons.low) + 1, len(rows)), np.int32)
    memory = block_memory(plan.widest, plan.block_rows, np.zeros(0, np.int64))
    column = blocks.Column(
        ids=np.empty(0, plan.connections.ids.dtype),
        weights=np.empty(0, np.float32),
        sums=aligned_floats(0),
        band=aligned_floats(TILE * BAND),
        table=np.empty(0, np.int32),
        far_bytes=far_bytes(),
        wide=wide_weights(plan.connections),
    )
    widths = plan.neurons.widths[1:]
    stands_for = [np.ones(n, np.int32) for n in widths] if plan.stands_for is None else plan.stands_for
    starts = np.cumsum(widths) - widths
    count_blocks(
        net=plan.neurons,
        conn=plan.connections,
        stands_for=np.concatenate(stands_for),
        starts=starts,
        work=with_rows(memory, inputs, rows, output=False, merges=False),
        column=column,
        counts=counts,
    )
    return counts
