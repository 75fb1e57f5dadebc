"""Splits rows of the input into row groups; no other module has index arithmetic of a split."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


class RowGroup(NamedTuple):
    """Rows that go through the network together. Schedulers know a row group by its number in the partition of a process.

    Attributes
    ----------
    inputs : csr_array of float32, shape (at least n_rows, n_inputs)
        A matrix that has the rows, in canonical form.
    rows : int64 array, shape (n_rows,)
        Rows of `inputs`, 0-based and ascending; may be empty.
    ids : int64 array, shape (n_rows,)
        0-based ids of these rows among the instances of all processes.
    """

    inputs: sp.csr_array
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]

    @property
    def nnz(self) -> int:
        """Number of nonzero inputs of the rows."""
        return int(np.diff(self.inputs.indptr)[self.rows].sum(dtype=np.int64))


class Partition(NamedTuple):
    """A split of rows ``0..n_rows-1``: each row is in exactly one part.

    Attributes
    ----------
    n_rows : int
    groups : tuple of int64 arrays, shape (rows of the part,)
        The rows of each part, ascending.
    """

    n_rows: int
    groups: tuple[NDArray[np.int64], ...]


PART_UNIT = 128


def split_evenly(n_rows: int, n_groups: int, order: NDArray[np.int64] | None = None, unit: int = 1) -> Partition:
    """Split rows ``0..n_rows-1`` into parts of neighbours whose sizes differ by at most one unit.

    With more parts than units, the last parts are empty.

    Parameters
    ----------
    n_rows, n_groups : int
    unit : int
        Rows that are not to be torn apart, since they take as long as one.
    order : int64 array, shape (n_rows,), optional
        The rows in the order in which they are neighbours (see `hashed_order`); ascending, unless given.

    Raises
    ------
    ValueError
        If `n_groups` or `unit` is below 1 or `n_rows` is negative.
    """
    if n_groups < 1 or n_rows < 0 or unit < 1:
        raise ValueError(f"cannot split {n_rows} rows into {n_groups} groups of units of {unit}")
    bounds = [min(bound * unit, n_rows) for bound in even_bounds(-(-n_rows // unit), n_groups)]
    rows = np.arange(n_rows, dtype=np.int64) if order is None else order
    return Partition(n_rows, tuple(np.sort(rows[start:stop]) for start, stop in itertools.pairwise(bounds)))


def hashed_positions(n: int, buckets: int) -> NDArray[np.int64]:
    """Return the position that each id gets under the bucket permutation, which spreads neighbouring ids evenly.

    With ``b = buckets * 128`` parts of height ``h = n // b``, id v below ``h * b`` goes to ``v // b + (v % b) * h``; larger ids
    stay. Reversible, since it is a permutation. Shape (n,), int64.

    The hashing of M. Hasanzadeh Mofrad, R. Melhem, Y. Ahmad and M. Hammoud, "Studying the Effects of Hashing of Sparse Deep
    Neural Networks on Data and Model Parallelisms", HPEC 2020, doi:10.1109/HPEC43674.2020.9286195, as in DistSparseDNN.
    """
    parts = buckets * PART_UNIT
    height = n // parts
    ids = np.arange(n, dtype=np.int64)
    return np.where(ids < height * parts, ids // parts + ids % parts * height, ids)


def hashed_order(n: int, buckets: int) -> NDArray[np.int64]:
    """Return the ids in the order of their hashed positions: the inverse of `hashed_positions`. Shape (n,), int64."""
    return np.argsort(hashed_positions(n, buckets), kind="stable").astype(np.int64)


def spread_order(n: int) -> NDArray[np.int64]:
    """Return rows ``0..n-1`` in an order in which any range of them is spread over all: steps of the golden ratio.

    Step k is at ``k * s mod n``, with s next to n over the golden ratio and coprime to n: by the three-distance theorem the
    first m of them, whatever m, leave gaps of at most three sizes. Shape (n,), int64.
    """
    step = max(round(n * (5**0.5 - 1) / 2), 1)
    while math.gcd(step, n) != 1:
        step += 1
    return np.arange(n, dtype=np.int64) * step % max(n, 1)


def alive_first(categories: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    """Return rows ``0..n_rows-1`` with those of the 1-based `categories` before all others; int64, shape (n_rows,)."""
    alive = np.zeros(n_rows, np.bool_)
    alive[categories - 1] = True
    return np.argsort(~alive, kind="stable").astype(np.int64)


def largest_group(n_rows: int, n_groups: int, unit: int = 1) -> int:
    """Return how many rows the largest group of an even split has."""
    return min(-(-n_rows // unit // n_groups) * unit, n_rows)


def even_bounds(n: int, n_parts: int) -> list[int]:
    """Return where contiguous parts of ``0..n-1`` start and end, ``n_parts + 1`` numbers; sizes differ by at most one."""
    small, n_larger = divmod(n, n_parts)
    return [i * small + min(i, n_larger) for i in range(n_parts + 1)]
