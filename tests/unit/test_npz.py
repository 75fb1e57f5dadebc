"""Matrices that scipy.sparse has saved: every format of it is read right, and all else is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from sparsednn.data.arrays_in_files import arrays_of_npz
from sparsednn.data.files import read_inputs, read_matrix
from sparsednn.data.npz import read_npz

DENSE = np.array([[0, 1.5, 0, 0], [2, 0, 0, -1], [0, 0, 0, 3], [4, 0, 5, 0]])


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format_that_scipy_saves_is_read(form: str, kind: str, tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "a.npz", getattr(sp, f"{form}_{kind}")(DENSE))
    for read in (read_npz(tmp_path / "a.npz"), read_inputs(tmp_path / "a.npz", 4, None)):
        assert read.dtype == np.float32
        assert read.toarray().tolist() == DENSE.tolist()
    assert read_matrix(tmp_path / "a.npz", 4, 4, "row", "column").toarray().tolist() == DENSE.tolist()


@pytest.mark.parametrize("form", ["coo", "csr"])
@pytest.mark.parametrize(("dtype", "value", "expected"), [(bool, True, 2), (np.uint8, 200, 400), (np.int8, 100, 200)])
def test_what_is_there_twice_is_added_as_float32(form: str, dtype: Any, value: Any, expected: float, tmp_path: Path) -> None:
    """In its own type True and True are True, and 200 and 200 are 144."""
    data, shape = np.array([value, value], dtype), (2, 4)
    twice = sp.coo_array((data, ([0, 0], [1, 1])), shape=shape)
    if form == "csr":
        twice = sp.csr_array((data, [1, 1], [0, 2, 2]), shape=shape)
    sp.save_npz(tmp_path / "a.npz", twice)
    assert read_inputs(tmp_path / "a.npz", 4, None).toarray().tolist() == [[0, expected, 0, 0], [0, 0, 0, 0]]
    assert read_matrix(tmp_path / "a.npz", 2, 4, "row", "column").toarray()[0, 1] == expected


def changed(**arrays: Any) -> dict[str, Any]:
    """The arrays of a file that would be read, some of them changed."""
    matrix = sp.csr_array(DENSE)
    whole = {
        "format": b"csr", "shape": (4, 4), "data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr,
        "_is_array": True,
    }  # fmt: skip
    return {key: value for key, value in {**whole, **arrays}.items() if value is not None}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        pytest.param(changed(data=np.full(6, 1 + 2j)), "the values: complex (complex128)", id="complex values"),
        pytest.param(changed(data=np.array([1, 2, 3, 4, 5, None])), "Object arrays cannot be loaded", id="objects"),
        pytest.param(changed(data=np.array(list("123456"))), "the values: holds <U1; numbers are needed", id="text"),
        pytest.param(changed(data=np.array([1, 2, 3, 4, 5, np.nan])), "holds nan, not finite", id="NaN"),
        pytest.param(changed(data=np.array([1, 2, 3, 4, 5, 1e39])), "holds inf, not finite in float32", id="beyond float32"),
        pytest.param(changed(indices=np.array([1, 0, 3, 3, 0, 2.5])), "indices is float64, not whole numbers", id="a fraction"),
        pytest.param(changed(indices=np.array([1, 0, 3, 3, 0, 4])), "not a valid sparse matrix", id="an index outside"),
        pytest.param(changed(shape=(16,)), "has the shape (16,)", id="one dimension"),
        pytest.param(changed(bias=np.ones(4)), "holds bias beside a sparse matrix, which would be ignored", id="another key"),
        pytest.param(changed(format=None), "not a matrix that scipy.sparse.save_npz has saved", id="no format"),
        pytest.param(changed(format=b"lil"), "is in the format 'lil'", id="another format"),
        pytest.param({"arr_0": DENSE}, "holds arr_0, not a matrix that scipy.sparse.save_npz has saved", id="a dense matrix"),
        pytest.param({}, "holds nothing, not a matrix", id="nothing"),
    ],
)
def test_other_contents_are_refused_by_name(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    for read in (lambda: read_inputs(path, 4, None), lambda: read_matrix(path, 4, 4, "row", "column")):
        with pytest.raises(ValueError, match="a.npz") as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")
        assert message in str(caught.value)


def test_a_vector_that_scipy_saves_is_refused_by_name(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "a.npz", sp.coo_array(np.array([0, 1, 2])))
    with pytest.raises(ValueError, match=r"a.npz: cannot be read: has the shape \(3,\)"):
        read_inputs(tmp_path / "a.npz", 3, None)


@pytest.mark.parametrize("extra", ["row", "coords", "offsets"])
def test_indices_of_another_format_are_refused(extra: str, tmp_path: Path) -> None:
    path = tmp_path / "matrix.npz"
    sp.save_npz(path, sp.csr_array(np.eye(2, dtype=np.float32)))
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, **arrays, **{extra: np.array([0, 1])})
    with pytest.raises(ValueError, match=f"holds {extra}, which would be ignored in the format 'csr'"):
        read_npz(path)


def test_a_file_with_a_password_is_refused_in_one_line(tmp_path: Path) -> None:
    """Its members are marked as encrypted, which the standard library's reader refuses by an error that is no OSError."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.ones(3, np.float32))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the general purpose bit flag in the directory (APPNOTE.TXT 4.4.4)
    content[content.index(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(content)
    for read in (read_npz, arrays_of_npz):
        with pytest.raises(ValueError, match=r"x\.npz: .*File 'a\.npy' is encrypted"):
            read(path)
