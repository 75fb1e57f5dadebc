"""Inputs of every kind become the same canonical rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.arguments.arrays import canonical_inputs

DENSE = np.array([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 1]], np.float32)
FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]


def is_canonical(rows: sp.csr_array) -> bool:
    """Whether rows are exactly `DENSE` as the kernels want it."""
    assert rows.format == "csr"
    assert rows.dtype == np.float32
    assert rows.indices.dtype == np.int32
    assert rows.shape == (3, 4)
    return (rows.indptr.tolist(), rows.indices.tolist(), rows.data.tolist()) == ([0, 2, 2, 4], [1, 3, 0, 3], [1, 2, 3, 1])


@pytest.mark.parametrize("old", [False, True], ids=["array", "matrix"])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_every_sparse_format_gives_the_same_rows(name: str, dtype: Any, old: bool) -> None:
    make = getattr(sp, f"{name}_{'matrix' if old else 'array'}")
    assert is_canonical(canonical_inputs(make(DENSE.astype(dtype)), 4))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f4", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_dtype_and_order_of_numpy_gives_the_same_rows(dtype: str, order: Any) -> None:
    assert is_canonical(canonical_inputs(np.array(DENSE, dtype, order=order), 4))


def test_booleans_are_ones() -> None:
    for given in (DENSE != 0, sp.csr_array(DENSE != 0)):
        assert np.array_equal(canonical_inputs(given, 4).toarray(), (DENSE != 0).astype(np.float32))


NOT_CANONICAL = [
    pytest.param([2, 1, 1, 3], [3, 1, 3, 0], [0, 2, 2, 4], id="unsorted indices"),
    pytest.param([1, 1, 1, 3, 1], [1, 3, 3, 0, 3], [0, 3, 3, 5], id="duplicates"),
    pytest.param([1, 0, 2, 0, 3, 1], [1, 2, 3, 0, 0, 3], [0, 3, 4, 6], id="explicit zeros"),
    pytest.param([1, 2, 5, -5, 1, 3], [1, 3, 2, 2, 3, 0], [0, 2, 4, 6], id="duplicates that cancel"),
    pytest.param([1, 1, 0, 1, 1, 3], [3, 1, 0, 3, 3, 0], [0, 4, 4, 6], id="all of them"),
]
INDEX_TYPES = pytest.mark.parametrize("index_type", [np.int32, np.int64])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])


def csr_of(data: list[int], indices: list[int], indptr: list[int], dtype: Any, index_type: Any, name: str = "csr") -> Any:
    make = sp.csr_matrix if name == "csr_matrix" else sp.csr_array
    matrix = make((3, 4), dtype=dtype)
    matrix.data = np.array(data, dtype)
    matrix.indices, matrix.indptr = np.array(indices, index_type), np.array(indptr, index_type)
    return matrix


@DTYPES
@INDEX_TYPES
@pytest.mark.parametrize(("data", "indices", "indptr"), NOT_CANONICAL)
def test_rows_are_brought_into_canonical_form(
    data: list[int], indices: list[int], indptr: list[int], dtype: Any, index_type: Any
) -> None:
    assert is_canonical(canonical_inputs(csr_of(data, indices, indptr, dtype, index_type), 4))


@DTYPES
@INDEX_TYPES
@pytest.mark.parametrize("name", ["csr_array", "csr_matrix"])
@pytest.mark.parametrize(("data", "indices", "indptr"), NOT_CANONICAL)
def test_the_callers_matrix_is_not_changed(
    data: list[int], indices: list[int], indptr: list[int], dtype: Any, index_type: Any, name: str
) -> None:
    matrix = csr_of(data, indices, indptr, dtype, index_type, name)
    canonical_inputs(matrix, 4)
    assert (matrix.data.tolist(), matrix.indices.tolist(), matrix.indptr.tolist()) == (data, indices, indptr)
    assert matrix.dtype == dtype


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "csr"])
def test_the_callers_matrix_of_another_format_is_not_changed(name: str) -> None:
    matrix = getattr(sp, f"{name}_array")(DENSE)
    canonical_inputs(matrix, 4)
    assert np.array_equal(matrix.toarray(), DENSE)


def test_duplicates_of_a_coordinate_matrix_are_added_up() -> None:
    coo = sp.coo_array(([1, 1, 1, 3, 1], ([0, 0, 0, 2, 2], [1, 3, 3, 0, 3])), shape=(3, 4))
    assert is_canonical(canonical_inputs(coo, 4))
    assert coo.data.tolist() == [1, 1, 1, 3, 1]


def test_rows_that_are_canonical_already_are_not_copied() -> None:
    matrix = sp.csr_array(DENSE)
    assert np.shares_memory(canonical_inputs(matrix, 4).data, matrix.data)


def test_no_instances_are_inputs_too() -> None:
    assert canonical_inputs(sp.csr_array((0, 4)), 4).shape == (0, 4)


@pytest.mark.parametrize("make", [np.array, *(getattr(sp, f"{name}_array") for name in FORMATS)])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        pytest.param(math.nan, "nan", id="NaN"),
        pytest.param(-math.inf, "-inf", id="an infinite value"),
        pytest.param(1e39, "inf", id="a float64 beyond float32"),
    ],
)
def test_values_that_are_not_finite_are_named_by_instance_and_feature(make: Any, value: float, named: str) -> None:
    dense = DENSE.astype(np.float64)
    dense[2, 1] = value
    with pytest.raises(ValueError, match=f"inputs: instance 3, feature 2 is {named}, which is not finite") as caught:
        canonical_inputs(make(dense), 4)
    assert "\n" not in str(caught.value)


def test_the_first_value_of_an_instance_behind_empty_ones_is_named() -> None:
    dense = np.zeros((6, 4))
    dense[4, 0] = math.nan
    with pytest.raises(ValueError, match="instance 5, feature 1 is nan"):
        canonical_inputs(sp.csr_array(dense), 4)


def test_duplicates_whose_sum_is_beyond_float32_are_refused() -> None:
    matrix = csr_of([0, 0], [3, 3], [0, 0, 2, 2], np.float32, np.int32)
    matrix.data[:] = 3e38
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="instance 2, feature 4 is inf, which is not finite"):
        canonical_inputs(matrix, 4)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param(np.ones((2, 5)), r"shape \(2, 5\), but the network has 4 inputs", id="too wide"),
        pytest.param(sp.csr_array((2, 3)), r"shape \(2, 3\), but the network has 4 inputs", id="too narrow"),
        pytest.param(np.ones(4), r"shape \(4,\), but the network has 4 inputs", id="one dimension"),
        pytest.param(sp.coo_array(np.ones(4)), r"shape \(4,\), but the network has 4 inputs", id="one sparse dimension"),
        pytest.param(np.ones((1, 2, 4)), r"shape \(1, 2, 4\), but the network has 4 inputs", id="three dimensions"),
    ],
)
def test_inputs_of_the_wrong_shape_are_refused(inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canonical_inputs(inputs, 4)


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        pytest.param([[0, 1, 0, 2]], "list", id="a list"),
        pytest.param("inputs.tsv", "str", id="a path"),
        pytest.param(None, "NoneType", id="nothing"),
    ],
)
def test_what_is_no_matrix_is_refused(inputs: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"inputs must be a scipy.sparse matrix or a NumPy array, not {name}"):
        canonical_inputs(inputs, 4)


@pytest.mark.parametrize("bad", [-3, 4, 9_000_000], ids=["negative", "just outside", "far outside"])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_indices_outside_the_shape_are_refused(kind: str, bad: int) -> None:
    """Compiled code would follow them anywhere."""
    matrix = getattr(sp, f"{kind}_array")(np.eye(4))
    (matrix.col if kind == "coo" else matrix.indices)[2] = bad
    with pytest.raises(ValueError, match="inputs: not a valid sparse matrix"):
        canonical_inputs(matrix, 4)
    with pytest.raises(ValueError, match="layer 1: not a valid sparse matrix"):
        sparsednn.Network([matrix])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param(np.ma.masked_equal(np.eye(4), 0), "inputs: a masked array, whose mask would be lost", id="masked"),
        pytest.param(np.eye(4) * 1j, "inputs: complex .complex128.; real numbers are needed", id="complex"),
        pytest.param(sp.csr_array(np.eye(4, dtype=np.complex64)), "inputs: complex .complex64.", id="sparse and complex"),
        pytest.param(np.eye(4).astype(object), "inputs: holds object; numbers are needed", id="objects"),
        pytest.param(np.eye(4).astype(str), "inputs: holds <U32; numbers are needed", id="text"),
        pytest.param(np.eye(4).astype("m8[s]"), r"inputs: holds timedelta64\[s\]; numbers are needed", id="durations"),
    ],
)
def test_what_a_conversion_would_lose_or_guess_is_refused(inputs: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        canonical_inputs(inputs, 4)
