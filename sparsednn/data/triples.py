"""Reads and writes (row, column, value) triples: the Graph Challenge's text layout and DistSparseDNN's binary layout.

Ids begin at 1 unless said otherwise. Text: tab separated, plain or gzipped (``.tsv``, ``.tsv.gz``), or separated by any white
space. Binary (``.bin``): little-endian records of uint32 row, uint32 column, float32 value, without a header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import as_float32
from sparsednn.data.text import Layout, id_field, line_of, number_field, opened, read_columns
from sparsednn.errors import DataError
from sparsednn.system.files import atomic_path

RECORD = np.dtype([("row", "<u4"), ("column", "<u4"), ("value", "<f4")])
_FIELDS = (id_field("row"), id_field("column"), number_field("value"))
_TABS, _SPACES = Layout(*_FIELDS, tabs=True), Layout(*_FIELDS, tabs=False)
_MAX_ID = 2**31 - 1
_MAX_DIGITS = 18


class FirstIds(NamedTuple):
    """The first id of the rows and of the columns of a file: 0 or 1.

    `option` is the argument that says so, if one does; `way_out` is said of a column out of range.
    """

    row: int = 1
    column: int = 1
    option: str | None = None
    way_out: str = ""


FROM_1 = FirstIds()


@dataclass(frozen=True, slots=True)
class Triples:
    """Entries of a matrix as a file has them: ids (int64) from `first_ids` on, and float32 values, in the file's order."""

    path: Path
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]
    binary: bool
    first_line: int = 1
    first_ids: FirstIds = FROM_1

    def place(self, entry: int) -> str:
        """Say where an entry is: file and line, or file and record. A text's entries begin at `first_line`."""
        if self.binary:
            return f"{self.path}: record {entry + 1}"
        return f"{self.path}:{line_of(self.path, entry, self.first_line)}"


def read_triples(path: Path, first_ids: FirstIds = FROM_1, *, tabs: bool = True) -> Triples:
    """Read a file of triples; fields of a text are separated by a tab, or, without `tabs`, by any white space.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is empty, truncated (a text must end with a newline) or malformed; the message
        names file and line.
    """
    rows, columns, values = _read_binary(path) if is_binary(path) else _read_text(path, _TABS if tabs else _SPACES)
    triples = Triples(path, rows, columns, values, binary=is_binary(path), first_ids=first_ids)
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
    first = triples.first_ids
    return sp.coo_array((triples.values, (triples.rows - first.row, triples.columns - first.column)), shape=(n_rows, n_columns))


def require_valid(triples: Triples, n_rows: int, n_columns: int, row_name: str, column_name: str) -> None:
    """Refuse an id outside its range, and a value that is NaN or infinite, naming file and line.

    Raises
    ------
    ValueError
        Where ids seem to begin at 0 in place of 1, or the other way round, the message says so.
    """
    first = triples.first_ids
    for name, ids, begin, n in (
        (row_name, triples.rows, first.row, n_rows),
        (column_name, triples.columns, first.column, n_columns),
    ):
        bad = np.flatnonzero((ids < begin) | (ids >= begin + n))
        if bad.size:
            hints = _shifted(ids, begin, n, name, first), first.way_out if ids is triples.columns else ""
            where = f"{triples.place(bad[0])}: {name} {ids[bad[0]]} is outside {begin}..{begin + n - 1}"
            raise DataError("; ".join([where, *filter(None, hints)]))
    bad = np.flatnonzero(~np.isfinite(triples.values))
    if bad.size:
        beyond = "" if triples.binary else " in float32"
        raise DataError(f"{triples.place(bad[0])}: the value {triples.values[bad[0]]} is not finite{beyond}")


def _shifted(ids: NDArray[np.int64], begin: int, n: int, name: str, first: FirstIds) -> str:
    """Say that ids would all fit if they began at 1 in place of 0, or the other way round, if that is so."""
    other = 1 - begin
    if ids.min() < other or ids.max() >= other + n or first is FROM_1:
        return ""
    if first.option is None:
        return f"in this layout each {name} counts from {begin}"
    return f"each {name} seems to count from {other}, as {first.option}={other} says"


def write_triples(
    path: Path, matrix: Any, *, by_column: bool, first_ids: FirstIds = FROM_1, separator: str = "\t"
) -> None:  # fmt: skip
    """Write a scipy.sparse matrix to a file of triples (binary if the name ends in .bin), sorted by column or by row."""
    coo = (sp.csc_array(matrix) if by_column else sp.csr_array(matrix)).tocoo()
    rows, columns = (ids.astype(np.int64) + first for ids, first in zip(coo.coords, first_ids[:2], strict=True))
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".bin":
            records = np.empty(coo.nnz, RECORD)
            records["row"], records["column"], records["value"] = rows, columns, coo.data
            records.tofile(temporary)
        else:
            frame = pd.DataFrame({"row": rows, "column": columns, "value": _text_values(coo.data)})
            frame.to_csv(temporary, sep=separator, header=False, index=False)


def read_ids(path: Path) -> NDArray[np.int64]:
    """Read a file of 1-based ids, one a line (text) or uint32 each (binary), gzipped if its name ends in .gz; may be empty.

    Blank lines, and a byte-order mark, are passed over.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or a line is not an id above 0, or ids do not ascend; the message names file and line.
    """
    ids, places = _binary_ids(path) if is_binary(path) else _text_ids(path)
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


def is_binary(path: Path) -> bool:
    """Say whether a name is that of a binary file, gzipped or not."""
    return path.name.lower().endswith((".bin", ".bin.gz"))


def records_of(path: Path, kind: np.dtype[Any], item: str = "records") -> NDArray[Any]:
    """Return the records of a binary file, gzipped if its name ends in ``.gz``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, it cannot be read, or its size is no whole number of records.
    """
    with opened(path, mark=False) as file:
        raw = file.read()
    if len(raw) % (size := kind.itemsize):
        raise DataError(f"{path}: {len(raw)} bytes are not a whole number of {size}-byte {item}; the file is truncated")
    return np.frombuffer(raw, kind)


def _read_binary(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    records = records_of(path, RECORD)
    return records["row"].astype(np.int64), records["column"].astype(np.int64), records["value"].astype(np.float32)


def _read_text(path: Path, layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    with opened(path) as file:
        rows, columns, values = read_columns(path, file, layout)
    return rows, columns, as_float32(values, f"{path}: value")


def _binary_ids(path: Path) -> tuple[NDArray[np.int64], Sequence[int]]:
    """Return ids and their numbers in the file, from 1."""
    ids = records_of(path, np.dtype("<u4"), "ids").astype(np.int64)
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
    keys = triples.rows * n_columns + triples.columns
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
