"""Finds groups of outputs with the same inputs, which kernels compute together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.column_ordering import first_inputs, nth_input
from backends.common.positions import entries_at
from backends.numba_cpu.layout.kernels.groups import GROUP, chain
from sparsednn.network import AnyLayer, Layer, ShiftedLayer

LEAST_SHARE = 0.5
"""Share of a layer's outputs that must be in groups: the others are computed one by one, repeated columns too."""


class ColumnGroups(NamedTuple):
    """A layer as kernels take it in groups; see `backends.numba_cpu.layout.packing.Connections`.

    order : int64 (n_outputs,)          outputs as they are computed: those of the groups first, `GROUP` at a time
    n_groups : int
    indptr : int64 (n_stored + 1,)      where the inputs of each group, and then of each other output, start
    indices : int32 (indptr[-1],)
    weights : float32                   of each input of a group `GROUP`, then of each other input one; or `GROUP` equal ones
    one_weight : bool
    """

    order: NDArray[np.int64]
    n_groups: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    one_weight: bool


def column_groups(layer: AnyLayer) -> ColumnGroups | None:
    """Return a layer's groups, each of which shares inputs with the one before; None where too few outputs are in any.

    Columns are the same if they have the same inputs in the same order.
    """
    if isinstance(layer, ShiftedLayer) or layer.n_outputs < GROUP:
        return None
    distinct, repeated = layer.distinct()
    found = _same_inputs(distinct) if repeated is None else (repeated, np.arange(distinct.n_outputs))
    if found is None:
        return None
    column, kept = found
    n_whole = np.bincount(column, minlength=len(kept)) // GROUP
    if n_whole.sum() * GROUP < LEAST_SHARE * layer.n_outputs:
        return None
    starts, stops = distinct.indptr[kept], distinct.indptr[kept + 1]
    order, n_groups = _order(column, _rank(starts, stops, distinct, n_whole), n_whole), int(n_whole.sum())
    stored = column[np.concatenate([order[: GROUP * n_groups : GROUP], order[GROUP * n_groups :]])]
    at = entries_at(starts[stored], stops[stored])
    indptr = np.concatenate([[0], np.cumsum(stops[stored] - starts[stored])])
    one_weight = len(distinct.values) > 0 and bool((distinct.values == distinct.values[0]).all())
    weights = np.full(GROUP, distinct.values[0]) if one_weight else _weights(layer.expanded(), order, n_groups, indptr)
    return ColumnGroups(order, n_groups, indptr, distinct.indices[at], weights, one_weight)


def _same_inputs(layer: Layer) -> tuple[NDArray[np.integer], NDArray[np.int64]] | None:
    """Number the columns so that those with the same inputs have the same number; return also one column of each number.

    None where there are too many numbers for groups. Found are columns that follow each other when all are sorted by their
    first inputs, so not those with others in between that only begin like them.
    """
    alike = np.bincount(nth_input(layer, 0) + 1)
    if (alike // GROUP).sum() * GROUP < LEAST_SHARE * layer.n_outputs:  # so far most layers without groups get
        return None
    keys, degrees = first_inputs(layer), np.diff(layer.indptr)
    by = np.lexsort((degrees, *keys))
    before, after = by[:-1], by[1:]
    same = degrees[before] == degrees[after]
    for key in keys:
        same &= key[before] == key[after]
    if len(by) - same.sum() > layer.n_outputs * (1 - LEAST_SHARE * (1 - 1 / GROUP)):  # or so far
        return None
    before, after, to_compare = before[same], after[same], degrees[before[same]]
    differ = (
        layer.indices[entries_at(layer.indptr[before], layer.indptr[before + 1])]
        != (layer.indices[entries_at(layer.indptr[after], layer.indptr[after + 1])])
    )
    ends = np.cumsum(to_compare)
    n_differ = np.concatenate([[0], np.cumsum(differ)])
    same[same] = n_differ[ends] == n_differ[ends - to_compare]
    number = np.concatenate([[0], np.cumsum(~same)])
    numbers = np.empty(len(by), np.int64)
    numbers[by] = number
    return numbers, by[np.concatenate([[True], ~same])]


def _rank(
    starts: NDArray[np.int64], stops: NDArray[np.int64], layer: Layer, n_whole: NDArray[np.int64]
) -> NDArray[np.int64]:  # fmt: skip
    """Return the place of each different column: those of groups in a chain, then the others."""
    grouped, alone = np.flatnonzero(n_whole), np.flatnonzero(n_whole == 0)
    at = entries_at(starts[grouped], stops[grouped])
    chained = np.empty(len(grouped), np.int64)
    ends = np.concatenate([[0], np.cumsum(stops[grouped] - starts[grouped])])
    chain(ends, np.ascontiguousarray(layer.indices[at], np.int32), layer.n_inputs, chained)
    rank = np.empty(len(n_whole), np.int64)
    rank[np.concatenate([grouped[chained], alone])] = np.arange(len(n_whole))
    return rank


def _order(column: NDArray[np.integer], rank: NDArray[np.int64], n_whole: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order outputs by the rank of their columns; those beyond whole groups come after all others."""
    small = rank.astype(np.uint16) if len(rank) <= np.iinfo(np.uint16).max else rank  # NumPy sorts small ones much faster
    by = np.argsort(small[column], kind="stable")
    counts = np.bincount(column, minlength=len(rank))
    if (counts == GROUP * n_whole).all():
        return by
    of_rank = np.empty(len(rank), np.int64)
    of_rank[rank] = np.arange(len(rank))
    counts = counts[of_rank]
    number = np.arange(len(by)) - np.repeat(np.cumsum(counts) - counts, counts)
    in_group = number < np.repeat(GROUP * n_whole[of_rank], counts)
    return np.concatenate([by[in_group], by[~in_group]])


def _weights(
    layer: Layer, order: NDArray[np.int64], n_groups: int, indptr: NDArray[np.int64]
) -> NDArray[np.float32]:  # fmt: skip
    """Lay weights out: [connection][output] in each group, then those of the other outputs as they are."""
    start, stop = layer.indptr[order], layer.indptr[order + 1]
    values, degrees = layer.values[entries_at(start, stop)], stop - start
    n_grouped = GROUP * n_groups
    n_values = int(degrees[:n_grouped].sum())
    of_output = np.arange(n_grouped)
    first = GROUP * indptr[of_output // GROUP] + of_output % GROUP
    within = np.arange(n_values) - np.repeat(np.cumsum(degrees[:n_grouped]) - degrees[:n_grouped], degrees[:n_grouped])
    weights = np.empty(len(values), np.float32)
    weights[np.repeat(first, degrees[:n_grouped]) + GROUP * within] = values[:n_values]
    weights[n_values:] = values[n_values:]
    return weights
