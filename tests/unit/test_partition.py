"""Splitting rows into row groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsednn.partition import largest_group, split_evenly


@given(n_rows=st.integers(0, 300), n_groups=st.integers(1, 40))
def test_an_even_split_has_every_row_once_and_sizes_that_differ_by_one_at_most(n_rows: int, n_groups: int) -> None:
    partition = split_evenly(n_rows, n_groups)
    assert np.array_equal(np.concatenate([group.rows for group in partition.groups]), np.arange(n_rows))
    sizes = [len(group.rows) for group in partition.groups]
    assert len(sizes) == n_groups
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == largest_group(n_rows, n_groups)
    assert [group.number for group in partition.groups] == list(range(n_groups))


@pytest.mark.parametrize(("n_rows", "n_groups"), [pytest.param(5, 0, id="no groups"), pytest.param(-1, 2, id="negative rows")])
def test_splits_that_make_no_sense_are_refused(n_rows: int, n_groups: int) -> None:
    with pytest.raises(ValueError, match=f"cannot split {n_rows} rows into {n_groups} groups"):
        split_evenly(n_rows, n_groups)
