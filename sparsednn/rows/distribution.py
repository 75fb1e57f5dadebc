"""Assigns the rows of the input to processes: whoever loads or runs rows asks `initial_rows`."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import csr_of
from sparsednn.comm import Communicator
from sparsednn.errors import OptionError
from sparsednn.rows.partition import even_bounds, hashed_order, spread_order

Ids = NDArray[np.int64]


class Share(NamedTuple):
    """The rows of one process.

    Attributes
    ----------
    rows : csr_array, shape (n_rows, n_inputs)
    ids : int64 array, shape (n_rows,)
        0-based ids of the instances among those of all processes, ascending.
    order : int64 array, shape (n_rows,)
        Positions in `rows`, in the order in which they are neighbours when they are split into row groups.
    n_instances : int
        Of all processes.
    """

    rows: sp.csr_array
    ids: Ids
    order: Ids
    n_instances: int


def loaded_share(comm: Communicator, rows: sp.csr_array, ids: Ids | None) -> Share:
    """Return the rows that this process has loaded; without ids, processes have one part after the other, by rank.

    Raises
    ------
    ValueError
        If the ids of all processes are not 0 .. n - 1, each once, ascending in each process.
    """
    counts = comm.all_gather(rows.shape[0])
    n = sum(counts)
    if ids is None:
        first = sum(counts[: comm.rank])
        ids = np.arange(first, first + rows.shape[0], dtype=np.int64)
    everybodys = comm.all_gather(ids)
    right = len(ids) == rows.shape[0] and (np.diff(ids) > 0).all()
    right = right and np.array_equal(np.sort(np.concatenate(everybodys)), np.arange(n))
    if not all(comm.all_gather(bool(right))):
        raise OptionError(f"row_ids: the processes together must have 0 .. {n - 1}, each once, ascending in each process")
    return Share(rows, ids, np.arange(len(ids), dtype=np.int64), n)


def hashes_rows(hashing: str) -> bool:
    """Return whether rows are spread with a value of option `hashing` ("none", "input", "layer" or "both")."""
    return hashing in ("input", "both")


def initial_rows(
    n: int, n_processes: int, *, hashed: bool, buckets: int, first: Ids | None = None, spread: bool = False
) -> list[Ids]:
    """Return which rows each process has when a run begins: even parts of all rows, put in order and then spread if hashed.

    Whoever loads the rows of a process loads these, so that none has to be sent to another process.

    Parameters
    ----------
    n, n_processes : int
    hashed : bool
        Spread neighbouring rows evenly (see `sparsednn.rows.partition.hashed_positions`).
    buckets : int
    first : int64 array, shape (n,), optional
        The order before rows are spread; ascending, unless given.
    spread : bool
        At last, spread rows so that any range of them is like any other (see `sparsednn.rows.partition.spread_order`); for
        schedulers that cut row groups.

    Returns
    -------
    list of int64 arrays
        The 0-based ids of each process's rows, by rank, in the order in which they are neighbours.
    """
    order = np.arange(n, dtype=np.int64) if first is None else first
    order = order[hashed_order(n, buckets)] if hashed else order
    order = order[spread_order(n)] if spread else order
    return parts_of(order, even_bounds(n, n_processes))


def parts_of(order: Ids, bounds: Sequence[int]) -> list[Ids]:
    """Return contiguous parts of an order, given where they start and end."""
    return [order[start:stop] for start, stop in pairwise(bounds)]


def bounds_by_work(work: NDArray[np.float64], n_parts: int) -> list[int]:
    """Return where contiguous parts of equal work start and end, ``n_parts + 1`` positions; by number if there is no work."""
    ends = np.cumsum(work)
    if not len(ends) or ends[-1] <= 0:
        return even_bounds(len(work), n_parts)
    wanted = ends[-1] * np.arange(1, n_parts) / n_parts
    return [0, *np.searchsorted(ends - work / 2, wanted).tolist(), len(work)]


def row_work(comm: Communicator, share: Share) -> NDArray[np.float64]:
    """Return an estimate of every row's work, by its id: the nonzeros of the input. Collective; shape (n_instances,)."""
    work = np.zeros(share.n_instances)
    for ids, counts in comm.all_gather((share.ids, np.diff(share.rows.indptr))):
        work[ids] = counts
    return work


def redistribute(comm: Communicator, share: Share, parts: Sequence[Ids]) -> Share:
    """Give each process its part of the rows, by rank; collective. Rows stay where they are if everybody has its own already.

    Rows of a part are neighbours in the order in which it has them.
    """
    mine = np.sort(parts[comm.rank])
    rows = share.rows
    if not all(comm.all_gather(np.array_equal(mine, share.ids))):
        owner = np.empty(share.n_instances, np.int64)
        for rank, part in enumerate(parts):
            owner[part] = rank
        goes_to = owner[share.ids]
        sent = [np.flatnonzero(goes_to == rank) for rank in range(comm.size)]
        arrived = comm.exchange([(share.ids[at], share.rows[at]) for at in sent])
        ids = np.concatenate([ids for ids, _ in arrived])
        stacked = sp.csr_array(sp.vstack([part for _, part in arrived], format="csr", dtype=np.float32))[np.argsort(ids)]
        rows = csr_of(stacked.indptr, stacked.indices, stacked.data, rows.shape[1])
    return Share(rows, mine, np.searchsorted(mine, parts[comm.rank]).astype(np.int64), share.n_instances)
