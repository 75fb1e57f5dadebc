"""Covering arrays: few rows of a product in which every two values that can meet do meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import combinations, product
from typing import Any

import pytest

Row = tuple[Hashable, ...]


def covering(rows: Sequence[Row], *factors: Sequence[Hashable]) -> list[Row]:
    """Return every row with a value of each factor beside it, and as few rows twice as it takes for all pairs.

    Greedy, as in AETG (Cohen et al., IEEE TSE 23, 1997), without its random choices: each row takes the values by which most
    pairs meet that have not met yet, and among these the ones that were taken least often.

    Parameters
    ----------
    rows : sequence of tuples
        What goes together, all of one length: each of them is in the result.
    *factors : sequences
        Values that go with every row.
    """
    missing = {pair for row in rows for values in product(*factors) for pair in _pairs((*row, *values))}
    taken: Counter[tuple[int, Hashable]] = Counter()
    found: list[Row] = []

    def take(candidates: Sequence[Row]) -> None:
        best = max(candidates, key=lambda row: (len(_pairs(row) & missing), -sum(taken[one] for one in enumerate(row))))
        found.append(best)
        taken.update(enumerate(best))
        missing.difference_update(_pairs(best))

    for row in rows:
        take([(*row, *values) for values in product(*factors)])
    while missing:
        take([(*row, *values) for row in rows for values in product(*factors)])
    return found


def _pairs(row: Row) -> set[tuple[tuple[int, Hashable], ...]]:
    """Return all two places of a row with their values."""
    return set(combinations(enumerate(row), 2))


def with_each(params: Sequence[Any], *factors: Sequence[Hashable]) -> list[Any]:
    """Return parameter sets (backend, kernel, ...) of `tests.backends` with values of factors beside them, by `covering`.

    Backend and kernel are one value. Sets of backends that cannot be used stay as they are, with the first values.
    """
    usable = {(param.values[:2], *param.values[2:]): param for param in params if not _is_skipped(param)}
    first = tuple(values[0] for values in factors)
    found = [(usable[row[: -len(factors)]], row[-len(factors) :]) for row in covering(list(usable), *factors)]
    found += [(param, first) for param in params if _is_skipped(param)]
    return [
        pytest.param(*param.values, *values, id="-".join(map(str, (param.id, *values))), marks=param.marks)
        for param, values in found
    ]


def _is_skipped(param: Any) -> bool:
    return any(mark.name == "skip" for mark in param.marks)
