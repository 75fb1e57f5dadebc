"""How rows of the input are split into row groups. All index arithmetic of a split is here."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class RowGroup(NamedTuple):
    """A set of rows that goes through the network together.

    Attributes
    ----------
    number : int
        Position in its partition, from 0.
    rows : int64 array, shape (n_rows,)
        0-based ids of the instances, ascending; may be empty.
    """

    number: int
    rows: NDArray[np.int64]


class Partition(NamedTuple):
    """A split of all rows into row groups: each row is in exactly one."""

    n_rows: int
    groups: tuple[RowGroup, ...]


PART_UNIT = 128


def split_evenly(n_rows: int, n_groups: int, order: NDArray[np.int64] | None = None, unit: int = 1) -> Partition:
    """Split rows ``0..n_rows-1`` into groups of neighbours whose sizes differ by at most one unit.

    With more groups than units, the last groups are empty.

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
    groups = (RowGroup(i, np.sort(rows[start:stop])) for i, (start, stop) in enumerate(itertools.pairwise(bounds)))
    return Partition(n_rows, tuple(groups))


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
