"""Reads and writes (row, column, value) triples: the Graph Challenge's text layout and DistSparseDNN's binary layout.

Both have 1-based ids. Text: tab separated, plain or gzipped (``.tsv``, ``.tsv.gz``). Binary (``.bin``): little-endian
records of uint32 row, uint32 column, float32 value, without a header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import as_float32
from sparsednn.data.text import Layout, id_field, line_of, number_field, opened, read_columns
from sparsednn.errors import DataError
from sparsednn.system.files import atomic_path

RECORD = np.dtype([("row", "<u4"), ("column", "<u4"), ("value", "<f4")])
_LAYOUT = Layout(id_field("row"), id_field("column"), number_field("value"), tabs=True)
_MAX_ID = 2**31 - 1
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Triples:
    """Entries of a matrix as a file has them: 1-based ids (int64) and float32 values, in the file's order."""

    path: Path
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]
    binary: bool
    first_line: int = 1

    def place(self, entry: int) -> str:
        """Say where an entry is: file and line, or file and record. A text's entries begin at `first_line`."""
        if self.binary:
            return f"{self.path}: record {entry + 1}"
        return f"{self.path}:{line_of(self.path, entry, self.first_line)}"


def read_triples(path: Path) -> Triples:
    """Read a file of triples.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is empty, truncated (a text must end with a newline) or malformed; the message
        names file and line.
    """
    triples = _read_binary(path) if _is_binary(path) else _read_text(path)
    if not triples.rows.size:
        raise DataError(f"{path}: is empty")
    return triples


def to_matrix(triples: Triples, n_rows: int, n_columns: int, row_name: str, column_name: str) -> sp.coo_array:
    """Return triples as a ``coo_array`` of float32, shape (n_rows, n_columns), checked.

    Raises
    ------
    ValueError
        If an id is outside its range, a value is NaN or infinite, or an entry is there twice; the message names file,
        line and id.
    """
    require_valid(triples, n_rows, n_columns, row_name, column_name)
    _refuse_duplicates(triples, n_columns, row_name, column_name)
    return sp.coo_array((triples.values, (triples.rows - 1, triples.columns - 1)), shape=(n_rows, n_columns))


def require_valid(triples: Triples, n_rows: int, n_columns: int, row_name: str, column_name: str) -> None:
    """Refuse an id outside its range, and a value that is NaN or infinite, naming file and line.

    Raises
    ------
    ValueError
    """
    for name, ids, limit in ((row_name, triples.rows, n_rows), (column_name, triples.columns, n_columns)):
        bad = np.flatnonzero((ids < 1) | (ids > limit))
        if bad.size:
            raise DataError(f"{triples.place(bad[0])}: {name} {ids[bad[0]]} is outside 1..{limit}")
    bad = np.flatnonzero(~np.isfinite(triples.values))
    if bad.size:
        beyond = "" if triples.binary else " in float32"
        raise DataError(f"{triples.place(bad[0])}: the value {triples.values[bad[0]]} is not finite{beyond}")


def write_triples(path: Path, matrix: Any, *, by_column: bool) -> None:
    """Write a scipy.sparse matrix to a file of triples (binary if the name ends in .bin), sorted by column or by row."""
    coo = (sp.csc_array(matrix) if by_column else sp.csr_array(matrix)).tocoo()
    rows, columns = coo.coords
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".bin":
            records = np.empty(coo.nnz, RECORD)
            records["row"], records["column"], records["value"] = rows + 1, columns + 1, coo.data
            records.tofile(temporary)
        else:
            frame = pd.DataFrame({"row": rows + 1, "column": columns + 1, "value": _text_values(coo.data)})
            frame.to_csv(temporary, sep="\t", header=False, index=False)


def read_ids(path: Path) -> NDArray[np.int64]:
    """Read a file of 1-based ids, one a line (text) or uint32 each (binary), gzipped if its name ends in .gz; may be empty.

    Blank lines, and a byte-order mark, are passed over.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or a line is not an id above 0, or ids do not ascend; the message names file and line.
    """
    ids, places = _binary_ids(path) if _is_binary(path) else _text_ids(path)
    ascend = np.diff(ids, prepend=0) > 0
    if not ascend.all():
        entry = int(np.flatnonzero(~ascend)[0])
        raise DataError(f"{path}:{places[entry]}: id {ids[entry]}: ids must be above 0 and ascend")
    return ids


def write_ids(path: Path, ids: NDArray[np.int64]) -> None:
    """Write 1-based ids, one a line, or as uint32 if the name ends in .bin."""
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".bin":
            ids.astype("<u4").tofile(temporary)
        else:
            temporary.write_text("".join(f"{i}\n" for i in ids), encoding="ascii")


def _is_binary(path: Path) -> bool:
    return path.name.lower().endswith((".bin", ".bin.gz"))


def _bytes_of(path: Path, item: str, size: int) -> bytes:
    with opened(path, mark=False) as file:
        raw = file.read()
    if len(raw) % size:
        raise DataError(f"{path}: {len(raw)} bytes are not a whole number of {size}-byte {item}; the file is truncated")
    return raw


def _read_binary(path: Path) -> Triples:
    records = np.frombuffer(_bytes_of(path, "records", RECORD.itemsize), RECORD)
    return Triples(
        path,
        records["row"].astype(np.int64),
        records["column"].astype(np.int64),
        records["value"].astype(np.float32),
        binary=True,
    )


def _read_text(path: Path) -> Triples:
    with opened(path) as file:
        rows, columns, values = read_columns(path, file, _LAYOUT)
    return Triples(path, rows, columns, as_float32(values, f"{path}: value"), binary=False)


def _binary_ids(path: Path) -> tuple[NDArray[np.int64], Sequence[int]]:
    """Return ids and their numbers in the file, from 1."""
    ids = np.frombuffer(_bytes_of(path, "ids", 4), "<u4").astype(np.int64)
    return ids, range(1, len(ids) + 1)


def _text_ids(path: Path) -> tuple[NDArray[np.int64], Sequence[int]]:
    """Return ids and their lines. The last line may lack its end, as in files that other programs write."""
    ids, lines = [], []
    with opened(path) as file:
        for number, raw in enumerate(file.read().splitlines(), start=1):
            text = raw.strip(b" \t")
            if text:
                if not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > _MAX_ID:
                    raise DataError(f"{path}:{number}: {_shown(path, text)} is not an id")
                ids.append(int(text))
                lines.append(number)
    return np.array(ids, np.int64), lines


def _shown(path: Path, text: bytes) -> str:
    try:
        return repr(text[:40].decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from None


def _refuse_duplicates(triples: Triples, n_columns: int, row_name: str, column_name: str) -> None:
    keys = (triples.rows - 1) * n_columns + triples.columns - 1
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if same.size:
        entry = int(order[same[0] + 1])
        raise DataError(
            f"{triples.place(entry)}: {row_name} {triples.rows[entry]}, {column_name} {triples.columns[entry]} "
            "is there for the second time"
        )


def _text_values(values: NDArray[np.float32]) -> NDArray[Any]:
    """Whole numbers without a decimal point, as the published files have them."""
    whole = (values == np.trunc(values)) & (np.abs(values) < 2**31)
    return values.astype(np.int64) if whole.all() else values
