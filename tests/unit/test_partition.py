"""Splitting rows into row groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsednn.rows.partition import alive_first, hashed_order, hashed_positions, largest_group, split_evenly, spread_order


@given(n_rows=st.integers(0, 300), n_groups=st.integers(1, 40))
def test_an_even_split_has_every_row_once_and_sizes_that_differ_by_one_at_most(n_rows: int, n_groups: int) -> None:
    partition = split_evenly(n_rows, n_groups)
    assert np.array_equal(np.concatenate(partition.groups), np.arange(n_rows))
    sizes = [len(rows) for rows in partition.groups]
    assert len(sizes) == n_groups
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == largest_group(n_rows, n_groups)
    assert len(partition.groups) == n_groups


@pytest.mark.parametrize(("n_rows", "n_groups"), [pytest.param(5, 0, id="no groups"), pytest.param(-1, 2, id="negative rows")])
def test_splits_that_make_no_sense_are_refused(n_rows: int, n_groups: int) -> None:
    with pytest.raises(ValueError, match=f"cannot split {n_rows} rows into {n_groups} groups"):
        split_evenly(n_rows, n_groups)


@given(n=st.integers(0, 2000), buckets=st.integers(1, 3))
def test_hashing_is_a_permutation_and_its_order_undoes_it(n: int, buckets: int) -> None:
    positions = hashed_positions(n, buckets)
    assert sorted(positions) == list(range(n))
    assert np.array_equal(positions[hashed_order(n, buckets)], np.arange(n))


@pytest.mark.parametrize(
    ("n", "buckets", "first"),
    [
        pytest.param(256, 1, [0, 2, 4, 6], id="two a part: neighbours go two apart"),
        pytest.param(300, 1, [0, 2, 4, 6], id="what is left over stays at the end"),
        pytest.param(512, 2, [0, 2, 4, 6], id="two buckets have twice the parts"),
        pytest.param(100, 1, [0, 1, 2, 3], id="fewer ids than parts: nothing moves"),
    ],
)
def test_hashing_sends_ids_where_the_paper_does(n: int, buckets: int, first: list[int]) -> None:
    """v // b + (v % b) * h, with b = buckets * 128 and h = n // b."""
    positions = hashed_positions(n, buckets)
    assert positions[:4].tolist() == first
    parts = buckets * 128
    assert all(positions[v] == v // parts + v % parts * (n // parts) for v in range(n // parts * parts))
    assert all(positions[v] == v for v in range(n // parts * parts, n))


def test_hashing_spreads_a_run_of_neighbours_over_all_groups() -> None:
    partition = split_evenly(60_000, 16, hashed_order(60_000, 1))
    shares = [int((rows < 1600).sum()) for rows in partition.groups]
    assert max(shares) <= 2 * min(shares)
    assert np.array_equal(np.sort(np.concatenate(partition.groups)), np.arange(60_000))


@given(n=st.integers(0, 3000), start=st.floats(0, 1), share=st.floats(0, 1))
def test_any_range_of_rows_that_are_spread_is_spread_over_all(n: int, start: float, share: float) -> None:
    """Each row once; and no stretch of rows is without one that is four times as long as if they were even."""
    order = spread_order(n)
    assert sorted(order) == list(range(n))
    first = int(start * n)
    some = np.sort(order[first : first + 1 + int(share * (n - first))])
    gaps = np.diff([*some, some[0] + n]) if len(some) else np.zeros(0)
    assert max(gaps, default=0) <= 4 * n / max(len(some), 1) + 1


def test_alive_first_keeps_the_order_among_the_living_and_among_the_dead() -> None:
    assert alive_first(np.array([2, 5]), 6).tolist() == [1, 4, 0, 2, 3, 5]
    assert alive_first(np.array([], np.int64), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("n_rows", "n_groups", "unit", "sizes"),
    [(8, 2, 8, [8, 0]), (9, 2, 8, [8, 1]), (20, 2, 8, [16, 4]), (64, 3, 8, [24, 24, 16]), (0, 2, 8, [0, 0]), (7, 1, 8, [7])],
)
def test_units_are_not_torn_apart(n_rows: int, n_groups: int, unit: int, sizes: list[int]) -> None:
    partition = split_evenly(n_rows, n_groups, unit=unit)
    assert [len(rows) for rows in partition.groups] == sizes
    assert np.concatenate(partition.groups).tolist() == list(range(n_rows))
    assert largest_group(n_rows, n_groups, unit) == max(sizes)
