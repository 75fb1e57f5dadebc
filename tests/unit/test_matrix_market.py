"""Matrix Market files: what scipy writes is read, each kind as the format has it; what is malformed is named by its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from sparsednn.data.files import read_inputs, read_matrix
from sparsednn.data.matrix_market import read_matrix_market

HEAD = "%%MatrixMarket matrix coordinate real general\n"


def matrix_in(folder: Path, content: str) -> list[list[float]]:
    (folder / "a.mtx").write_text(content, encoding="utf-8")
    return read_matrix_market(folder / "a.mtx").toarray().tolist()


SYMMETRIES = ("general", "symmetric", "skew-symmetric")
KINDS = [
    *((symmetry, field, dense) for symmetry in SYMMETRIES for field in ("real", "integer") for dense in (False, True)),
    ("general", "pattern", False),
    ("symmetric", "pattern", False),
]


@pytest.mark.parametrize(("symmetry", "field", "dense"), KINDS)
def test_what_scipy_writes_is_read(symmetry: str, field: str, dense: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    lower = np.tril(rng.integers(-3, 4, (6, 6)), -1).astype(float) / (2 if field == "real" else 1)
    matrix = {"general": lower, "symmetric": lower + lower.T + np.eye(6), "skew-symmetric": lower - lower.T}[symmetry]
    if field == "pattern":
        matrix = (matrix != 0).astype(float)
    written = matrix if dense else sp.coo_array(matrix)
    scipy.io.mmwrite(tmp_path / "a.mtx", written, comment="a\nremark", field=field, precision=17, symmetry=symmetry)
    assert read_matrix_market(tmp_path / "a.mtx").dtype == np.float32
    assert read_matrix_market(tmp_path / "a.mtx").toarray().tolist() == matrix.tolist()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(HEAD + "1 1 1\n1 1 5D-1\n", [[0.5]], id="Fortran's exponent"),
        pytest.param(HEAD + "1 2 2\n1 1 5d+1\n1 2 2.5e-1\n", [[50, 0.25]], id="Fortran's and C's exponents"),
        pytest.param(HEAD.upper() + "1 1 1\n1 1 2\n", [[2]], id="a head in capitals"),
        pytest.param(HEAD + "% a\n\n%b\n  2  2\t1 \n\n 2\t2   3 \n\n", [[0, 0], [0, 3]], id="remarks and white space"),
        pytest.param((HEAD + "1 1 1\n1 1 2\n").replace("\n", "\r\n"), [[2]], id="line ends of Windows"),
        pytest.param("\ufeff" + HEAD + "1 1 1\n1 1 2\n", [[2]], id="a byte-order mark"),
        pytest.param(HEAD + "2 1 0\n", [[0], [0]], id="no entries"),
        pytest.param(HEAD + "1 1 2\n1 1 2\n1 1 0.5\n", [[2.5]], id="an entry twice stands for a sum"),
        pytest.param(HEAD.replace("real", "pattern") + "1 1 2\n1 1\n1 1\n", [[2]], id="a pattern's entry twice"),
        pytest.param(HEAD.replace("real", "integer") + "1 1 1\n1 1 -16777216\n", [[-16777216]], id="whole numbers"),
        pytest.param(
            HEAD.replace("coordinate", "array") + "2 3\n1\n2\n3\n4\n5\n6\n", [[1, 3, 5], [2, 4, 6]], id="an array"
        ),
    ],
)  # fmt: skip
def test_well_formed_files_are_read(content: str, expected: list[list[float]], tmp_path: Path) -> None:
    assert matrix_in(tmp_path, content) == expected
    (tmp_path / "a.mtx.gz").write_bytes(gzip.compress(content.encode()))
    assert read_matrix_market(tmp_path / "a.mtx.gz").toarray().tolist() == expected


UNREADABLE = ": cannot be read: "
INTEGER = HEAD.replace("real", "integer")
SYMMETRIC = HEAD.replace("general", "symmetric")
SKEW = HEAD.replace("general", "skew-symmetric")
ARRAY = HEAD.replace("coordinate", "array")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(HEAD + "1 1 1\n1 1 0,5\n", ":3: value '0,5' is not a number", id="a decimal comma"),
        pytest.param(HEAD + "% a\n1 2 2\n\n1 1 1\n1 2 1.2.3\n", ":6: value '1.2.3' is not a number", id="two points"),
        pytest.param(HEAD + "1 1 1\n1 1 0x10\n", ":3: value '0x10' is not a number", id="a hexadecimal number"),
        pytest.param(HEAD + "1 1 1\n1 1 NaN\n", ":3: the value NaN is not finite", id="NaN"),
        pytest.param(HEAD + "1 1 1\n1 1 -inf\n", ":3: the value -inf is not finite", id="an infinite value"),
        pytest.param(HEAD + "1 1 1\n1 1 1e39\n", ":3: the value inf is not finite in float32", id="beyond float32"),
        pytest.param(INTEGER + "1 1 1\n1 1 2.7\n", ":3: value '2.7' is not a whole number", id="a fraction in integers"),
        pytest.param(INTEGER + "1 1 1\n1 1 2e0\n", ":3: value '2e0' is not a whole number", id="an exponent in integers"),
        pytest.param(HEAD + "1 2 1\n1.0 2 1\n", ":3: row '1.0' is not an id", id="a fraction for a row"),
        pytest.param(HEAD + "2 2 2\n1 1 1\n3 1 1\n", ":4: row 3 is outside 1..2", id="a row beyond the last"),
        pytest.param(HEAD + "2 2 1\n1 0 1\n", ":3: column 0 is outside 1..2", id="column 0"),
        pytest.param(HEAD + "1 1 1\n1 1\n", ":3: 2 fields in place of 3 (row, column, value): '1 1'", id="no value"),
        pytest.param(HEAD + "1 1 1\n1 1 1 1\n", ":3: 4 fields in place of 3", id="too many fields"),
        pytest.param(HEAD + "1 1 1\n% a\n1 1 1\n", ":3: 2 fields in place of 3", id="a late remark"),
        pytest.param(HEAD + "1 1 1\n1 1 0.06", ":3: the last line has no end", id="a cut number"),
        pytest.param(HEAD + "1 1 2\n1 1 1\n", UNREADABLE + "line 2 announces 2 entries, but there are 1", id="too few"),
        pytest.param(HEAD + "2 1 1\n1 1 1\n2 1 1\n", UNREADABLE + "line 2 announces 1 entries, but there are 2", id="too many"),
        pytest.param(ARRAY + "2 2\n1\n2\n3\n", UNREADABLE + "line 2 announces 4 entries, but there are 3", id="a short array"),
        pytest.param(ARRAY + "1 2\n1 2\n", ":3: 2 fields in place of 1 (value)", id="two values in a line"),
        pytest.param(HEAD + "1 1\n", UNREADABLE + "line 2 is '1 1', not the numbers of rows, c", id="two sizes"),
        pytest.param(HEAD + "1 -1 0\n", UNREADABLE + "line 2 is '1 -1 0'", id="a negative size"),
        pytest.param(HEAD + "1 1.0 0\n", UNREADABLE + "line 2 is '1 1.0 0'", id="a size with a fraction"),
        pytest.param(HEAD + "1 99999999999 0\n", ":2: 99999999999 columns are more than", id="a size beyond 31 bits"),
        pytest.param(HEAD, UNREADABLE + "line 2 is ''", id="no sizes"),
        pytest.param("1 1 1\n", UNREADABLE + "line 1 is '1 1 1', not the head of a matrix", id="no head"),
        pytest.param(HEAD.replace("matrix ", "vector "), UNREADABLE + "line 1", id="a vector"),
        pytest.param(HEAD.replace("real", "complex") + "1 1 1\n1 1 1 2\n", ":1: the values are complex; real", id="complex"),
        pytest.param(HEAD.replace("general", "hermitian") + "1 1 0\n", ":1: 'hermitian' is no symmetry of", id="hermitian"),
        pytest.param(HEAD.replace("real", "text") + "1 1 0\n", ":1: coordinate files of 'text' are not", id="other values"),
        pytest.param(ARRAY.replace("real", "pattern") + "1 1\n1\n", ":1: array files of 'pattern'", id="a pattern's array"),
        pytest.param(SYMMETRIC + "1 2 0\n", ":2: 1 rows and 2 columns", id="not square"),
        pytest.param(SYMMETRIC + "2 2 2\n2 1 1\n1 2 1\n", ":4: row 1, column 2 is above the diagonal", id="both triangles"),
        pytest.param(SKEW + "2 2 1\n2 2 1\n", ":3: row 2, column 2 is on or above the diagonal", id="a diagonal"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused_naming_file_line_and_value(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a.mtx") as caught:
        matrix_in(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/a.mtx{message}")
    assert "\n" not in str(caught.value)


def test_layers_and_inputs_go_through_the_same_reader(tmp_path: Path) -> None:
    (tmp_path / "a.mtx").write_text(HEAD + "2 2 2\n1 1 5D-1\n2 2 1\n")
    assert read_matrix(tmp_path / "a.mtx", 2, 2, "row", "column").toarray().tolist() == [[0.5, 0], [0, 1]]
    assert read_inputs(tmp_path / "a.mtx", 2, None).toarray().tolist() == [[0.5, 0], [0, 1]]
    with pytest.raises(ValueError, match=r"a.mtx: has 2 instances, fewer than instances=3; instances=null takes all"):
        read_inputs(tmp_path / "a.mtx", 2, 3)


@pytest.mark.parametrize("name", ["A.MTX", "a.Mtx.GZ", "A.NPZ", "A.TSV", "A.BIN", "A.TSV.GZ"])
def test_endings_in_capitals_mean_the_same_formats(name: str, tmp_path: Path) -> None:
    """They were read as text."""
    content = {
        "mtx": (HEAD + "1 2 1\n1 2 0.5\n").encode(), "tsv": b"1\t2\t0.5\n",
        "bin": np.array([(1, 2, 0.5)], dtype="<u4,<u4,<f4").tobytes(),
    }  # fmt: skip
    kind = name.lower().split(".")[1]
    if kind == "npz":
        with (tmp_path / name).open("wb") as file:
            sp.save_npz(file, sp.csr_array([[0, 0.5]]))
    else:
        (tmp_path / name).write_bytes(gzip.compress(content[kind]) if name.endswith("GZ") else content[kind])
    assert read_inputs(tmp_path / name, 2, None).toarray().tolist() == [[0, 0.5]]
