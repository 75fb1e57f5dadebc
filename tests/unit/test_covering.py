"""Covering arrays of the tests: no row and no pair is missing, and few rows are there twice."""

from __future__ import annotations

import itertools

from tests.covering import covering

KERNELS = {"dense": ("data", "model", "queue"), "sparse": ("data", "queue"), "peer": ("data",)}
ROWS = [(kernel, scheduler) for kernel, schedulers in KERNELS.items() for scheduler in schedulers]


def test_every_two_values_meet_and_every_row_is_there() -> None:
    found = covering(ROWS, ["none", "input"], [1, 3, 16])
    assert {row[:2] for row in found} == set(ROWS)
    for left, right in itertools.combinations(range(4), 2):
        possible = {
            (row[left], row[right])
            for row in ((*row, *rest) for row in ROWS for rest in itertools.product(["none", "input"], [1, 3, 16]))
        }
        assert {(row[left], row[right]) for row in found} == possible
    assert len(found) <= 12, "of 36, where 3 kernels with 3 numbers of threads take 9 at least"


def test_it_is_the_same_each_time() -> None:
    assert covering(ROWS, "ab", range(4)) == covering(ROWS, "ab", range(4))


def test_without_factors_rows_are_as_they_are() -> None:
    assert covering(ROWS) == ROWS
