"""Shares queues of row groups between processes through MPI one-sided operations, so that each can take from any queue."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.comm import Communicator
from sparsednn.rows.partition import RowGroup


class SharedQueues:
    """A queue for each process: a counter of the row groups that were taken, and the rows for others to fetch.

    Collective: every process makes one for each run, and closes it.

    Parameters
    ----------
    comm : Communicator
    inputs : csr_array
        The process's rows, row group after row group.
    ids : int64 array, shape (n_rows,)
        Of these rows, among those of all processes.
    sizes : sequence of int
        Rows of each row group.
    """

    def __init__(self, comm: Communicator, inputs: sp.csr_array, ids: NDArray[np.int64], sizes: Sequence[int]) -> None:
        self._rank = comm.rank
        bounds: NDArray[np.int64] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._tables = comm.all_gather((bounds, ids))
        self._counters, self._rows = comm.counters(), comm.expose(inputs)

    def take(self, process: int) -> tuple[int, RowGroup | None] | None:
        """Take the head of a process's queue: its number there, and the row group if it is another's; None if empty."""
        bounds, ids = self._tables[process]
        number = self._counters.add(process, 1)
        if number >= len(bounds) - 1:
            return None
        if process == self._rank:
            return number, None
        first, last = int(bounds[number]), int(bounds[number + 1])
        fetched = self._rows.fetch(process, first, last)
        return number, RowGroup(fetched, np.arange(last - first, dtype=np.int64), ids[first:last])

    def close(self) -> None:
        """Give the memory back."""
        self._counters.close()
        self._rows.close()


def in_group_order(inputs: sp.csr_array, groups: Sequence[NDArray[np.int64]]) -> tuple[sp.csr_array, list[NDArray[np.int64]]]:
    """Return the rows group after group, copied only if they are not so already, and each group's rows in that matrix."""
    order = np.concatenate([*groups, np.zeros(0, np.int64)])
    bounds = np.concatenate([[0], np.cumsum([len(rows) for rows in groups])])
    if not np.array_equal(order, np.arange(inputs.shape[0])):
        inputs = sp.csr_array(inputs[order])
        inputs.has_canonical_format = True
    return inputs, [np.arange(first, last, dtype=np.int64) for first, last in pairwise(bounds)]
