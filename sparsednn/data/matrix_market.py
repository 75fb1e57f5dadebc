"""Reads Matrix Market files (``.mtx``, ``.mtx.gz``): coordinate and array files of real, integer and pattern matrices.

The format: https://math.nist.gov/MatrixMarket/formats.html. Symmetric and skew-symmetric files hold the lower triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import as_float32
from sparsednn.data.text import Layout, id_field, number_field, opened, read_columns, whole_field
from sparsednn.data.triples import Triples, require_valid
from sparsednn.errors import DataError

_VALUES = {
    "real": (number_field("value"),),
    "double": (number_field("value"),),
    "integer": (whole_field("value"),),
    "unsigned-integer": (whole_field("value"),),
    "pattern": (),
}
_SYMMETRIES = ("general", "symmetric", "skew-symmetric")
_MAX_SIZE = 2**31 - 1
_EXAMPLE = "%%MatrixMarket matrix coordinate real general"


@dataclass(frozen=True, slots=True)
class _Header:
    """The lines before the entries; `size_line` is the line with the sizes."""

    path: Path
    values: str
    symmetry: str
    coordinate: bool
    n_rows: int
    n_columns: int
    n_entries: int
    size_line: int


def read_matrix_market(path: Path) -> sp.coo_array:
    """Read a Matrix Market file.

    Returns
    -------
    coo_array of float32
        Entries that a coordinate file has twice are there twice (they stand for their sum); those of a pattern are 1.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, its kind is none that holds real numbers, it is truncated, or a line is malformed; the message
        names file and line.
    """
    with opened(path) as file:
        header = _read_header(path, file)
        first_line = header.size_line + 1
        fields = (id_field("row"), id_field("column")) if header.coordinate else ()
        columns = read_columns(path, file, Layout(*fields, *_VALUES[header.values], tabs=False), first_line)
    if len(columns[0]) != header.n_entries:
        _refuse(path, f"line {header.size_line} announces {header.n_entries} entries, but there are {len(columns[0])}")
    values = as_float32(columns[-1], f"{path}: value") if _VALUES[header.values] else np.ones(len(columns[0]), np.float32)
    rows, ids = columns[:2] if header.coordinate else _array_ids(header)
    entries = Triples(path, rows, ids, values, binary=False, first_line=first_line)
    require_valid(entries, header.n_rows, header.n_columns, "row", "column")
    if header.symmetry != "general":
        entries = _mirrored(entries, header)
    ids_from_0 = (entries.rows - 1, entries.columns - 1)
    return sp.coo_array((entries.values, ids_from_0), shape=(header.n_rows, header.n_columns))


def _read_header(path: Path, file: BufferedIOBase) -> _Header:
    first = file.readline().decode("latin-1")
    words = first.lower().split()
    if len(words) != 5 or words[:2] != ["%%matrixmarket", "matrix"] or words[2] not in ("coordinate", "array"):
        _refuse(path, f"line 1 is {first[:60].strip()!r}, not the head of a matrix, like {_EXAMPLE!r}")
    form, values, symmetry = words[2:]
    if values == "complex":
        raise DataError(f"{path}:1: the values are complex; real numbers are needed, so write the real part alone")
    if values not in _VALUES or (values == "pattern" and form == "array"):
        raise DataError(f"{path}:1: {form} files of {values!r} are not read; legal are {', '.join(_VALUES)}")
    if symmetry not in _SYMMETRIES or (symmetry == "skew-symmetric" and values == "pattern"):
        raise DataError(f"{path}:1: {symmetry!r} is no symmetry of {values} values; legal are {', '.join(_SYMMETRIES)}")
    number, line = 2, file.readline()
    while line.startswith(b"%") or (line and not line.strip()):
        number, line = number + 1, file.readline()
    sizes = _sizes(path, number, line, 3 if form == "coordinate" else 2)
    if symmetry != "general" and sizes[0] != sizes[1]:
        raise DataError(f"{path}:{number}: {sizes[0]} rows and {sizes[1]} columns make no {symmetry} matrix")
    n_entries = sizes[2] if form == "coordinate" else _n_in_array(sizes[0], sizes[1], symmetry)
    return _Header(path, values, symmetry, form == "coordinate", sizes[0], sizes[1], n_entries, number)


def _sizes(path: Path, number: int, line: bytes, n_sizes: int) -> list[int]:
    texts = line.split()
    names = ("rows", "columns", "entries")[:n_sizes]
    if len(texts) != n_sizes or not all(text.isdigit() and len(text) <= 18 for text in texts):
        _refuse(path, f"line {number} is {line[:60].strip().decode('latin-1')!r}, not the numbers of {', '.join(names)}")
    sizes = [int(text) for text in texts]
    for name, size in zip(names[:2], sizes, strict=False):
        if size > _MAX_SIZE:
            raise DataError(f"{path}:{number}: {size} {name} are more than {_MAX_SIZE}")
    return sizes


def _n_in_array(n_rows: int, n_columns: int, symmetry: str) -> int:
    """Values in an array file; of a symmetric one, those of the lower triangle, which without its diagonal is a skew one's."""
    if symmetry == "general":
        return n_rows * n_columns
    return n_rows * (n_rows + 1) // 2 - (n_rows if symmetry == "skew-symmetric" else 0)


def _array_ids(header: _Header) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column, from 1, of each value of an array file, which has one column after the other."""
    n_rows, n_columns = header.n_rows, header.n_columns
    if header.symmetry == "general":
        return np.tile(np.arange(1, n_rows + 1), n_columns), np.repeat(np.arange(1, n_columns + 1), n_rows)
    columns, rows = np.triu_indices(n_rows, k=int(header.symmetry == "skew-symmetric"))
    return rows + 1, columns + 1


def _mirrored(entries: Triples, header: _Header) -> Triples:
    """Return the entries of both triangles. An entry of the upper one in the file would be counted twice with its twin."""
    skew = header.symmetry == "skew-symmetric"
    outside = np.flatnonzero(entries.rows < entries.columns + skew)
    if outside.size:
        row, column = entries.rows[outside[0]], entries.columns[outside[0]]
        where = "on or above" if skew else "above"
        raise DataError(
            f"{entries.place(outside[0])}: row {row}, column {column} is {where} the diagonal, but a {header.symmetry} file "
            "holds what is below it; say 'general' in line 1 if it holds all entries"
        )
    twins = np.flatnonzero(entries.rows != entries.columns)
    rows = np.concatenate([entries.rows, entries.columns[twins]])
    columns = np.concatenate([entries.columns, entries.rows[twins]])
    values: Any = np.concatenate([entries.values, (-1 if skew else 1) * entries.values[twins]])
    return Triples(entries.path, rows, columns, values, binary=False)


def _refuse(path: Path, problem: str) -> NoReturn:
    raise DataError(f"{path}: cannot be read: {problem}")
