"""Arrays of layers are stored once where they are the same to the last bit, in memory and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.common.column_merging import saturated_rows_stay
from backends.common.column_ordering import computing_order
from backends.common.positions import entries_at
from backends.numba_cpu.layout.stores import FileStore, Store


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(np.float32) if request.param == "memory" else FileStore(np.float32, tmp_path / "store")


def test_what_is_the_same_is_stored_once(store: Store) -> None:
    first, second = np.arange(1000, dtype=np.float32), np.arange(1, 1001, dtype=np.float32)
    for part in (first, second, first.copy(), None, second[:500], second.astype(np.float64), first):
        store.add(part)
    assert store.offsets().tolist() == [0, 1000, 0, -1, 2000, 1000, 0]
    assert store.lengths().tolist() == [1000, 1000, 1000, 0, 500, 1000, 1000]
    assert np.array_equal(store.array(), np.concatenate([first, second, second[:500]]))


def test_what_differs_only_in_its_order_is_stored_twice(store: Store) -> None:
    """The sum of the bits is the same, and so are the entries that are looked at first."""
    first = np.zeros(10_000, np.float32)
    second, third = first.copy(), first.copy()
    second[5:7], third[7:9] = 1, 1
    for part in (second, third, second):
        store.add(part)
    assert store.offsets().tolist() == [0, 10_000, 0]
    assert np.array_equal(store.array(), np.concatenate([second, third]))


def test_zeros_of_other_signs_differ(store: Store) -> None:
    for part in (np.zeros(3), np.array([0.0, -0.0, 0.0]), np.zeros(3)):
        store.add(part)
    assert store.offsets().tolist() == [0, 3, 0]
    assert np.signbit(store.array()).tolist() == [False] * 4 + [True, False]


def test_what_has_other_bytes_beside_it_differs(store: Store) -> None:
    part = np.ones(5)
    for beside in (b"", b"a", b"b", b"a", b""):
        store.add(part, beside)
    assert store.offsets().tolist() == [0, 5, 10, 5, 0]


def test_arrays_without_entries_are_stored(store: Store) -> None:
    for n in (0, 3, 0, 0):
        store.add(np.ones(n))
    assert store.lengths().tolist() == [0, 3, 0, 0]
    assert store.array().tolist() == [1, 1, 1]


@pytest.mark.parametrize("counts", [[], [3], [0, 0], [4, 4, 4], [1, 0, 3]])
def test_entries_of_ranges_are_found_one_after_the_other(counts: list[int]) -> None:
    start = np.array([10 * number + 7 for number in range(len(counts))][::-1], np.int64)
    expected = [begin + k for begin, count in zip(start.tolist(), counts, strict=True) for k in range(count)]
    assert entries_at(start, start + np.array(counts, np.int64)).tolist() == expected


@pytest.mark.parametrize(("n_inputs", "shift"), [(30, 0), (2**22, 2**21)])
def test_columns_are_ordered_by_their_first_inputs_and_stay_in_order_where_these_are_equal(n_inputs: int, shift: int) -> None:
    rng = np.random.default_rng(1)
    columns = [[*sorted(rng.choice(4, rng.integers(0, 5), replace=False).tolist()), 4 + rng.integers(3)] for _ in range(200)]
    indptr = np.cumsum([0, *(len(column) for column in columns)])
    indices = np.concatenate(columns) + shift
    matrix = sp.csc_array((np.ones(len(indices)), indices, indptr), shape=(n_inputs, len(columns)))
    stored, order = computing_order(sparsednn.Network([matrix]).layers[0], "shared_inputs")
    keys = [[*column[:3], *[-1] * (3 - len(column))] for column in columns]
    assert stored is not None
    assert order is not None
    assert stored.tolist() == order.tolist() == sorted(range(len(columns)), key=lambda number: keys[number])


@pytest.mark.parametrize("weight", [0.0625, 0.03])
def test_generated_layers_keep_rows_saturated_as_their_expanded_ones_do(weight: float) -> None:
    network = sparsednn.radixnet(1024, 12, weight=weight)
    whole = sparsednn.Network.from_layers([layer.expanded() for layer in network.layers], network.bias_on)
    assert saturated_rows_stay(network).tolist() == saturated_rows_stay(whole).tolist()
    assert saturated_rows_stay(network)[1:-1].tolist() == [weight == 0.0625] * 11
