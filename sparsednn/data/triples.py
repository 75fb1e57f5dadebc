"""Files of (row, column, value) triples: the Graph Challenge's text layout and the C++ DistSparseDNN's binary layout.

Both have 1-based ids. Text: tab separated, plain or gzipped (``.tsv``, ``.tsv.gz``). Binary (``.bin``): little-endian
records of uint32 row, uint32 column, float32 value, without a header.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.result import atomic_path

RECORD = np.dtype([("row", "<u4"), ("column", "<u4"), ("value", "<f4")])
_COLUMNS = ["row", "column", "value"]
_MAX_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Triples:
    """Entries of a matrix as a file has them: 1-based ids (int64) and float32 values, in the file's order."""

    path: Path
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]
    binary: bool

    def place(self, entry: int) -> str:
        """Say where an entry is: file and line, or file and record."""
        return f"{self.path}: record {entry + 1}" if self.binary else f"{self.path}:{_line_of(self.path, entry)}"


def read_triples(path: Path) -> Triples:
    """Read a file of triples.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is empty, truncated (a text must end with a newline) or malformed; the message
        names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return _read_binary(path) if path.name.endswith((".bin", ".bin.gz")) else _read_text(path)


def to_matrix(triples: Triples, n_rows: int, n_columns: int, row_name: str, column_name: str) -> sp.coo_array:
    """Return triples as a ``coo_array`` of shape (n_rows, n_columns), checked.

    Raises
    ------
    ValueError
        If an id is outside its range, a value is NaN or infinite, or an entry is there twice; the message names file,
        line and id.
    """
    for name, ids, limit in ((row_name, triples.rows, n_rows), (column_name, triples.columns, n_columns)):
        bad = np.flatnonzero((ids < 1) | (ids > limit))
        if bad.size:
            raise ValueError(f"{triples.place(bad[0])}: {name} {ids[bad[0]]} is outside 1..{limit}")
    bad = np.flatnonzero(~np.isfinite(triples.values))
    if bad.size:
        raise ValueError(f"{triples.place(bad[0])}: the value {triples.values[bad[0]]} is not finite")
    _refuse_duplicates(triples, n_columns, row_name, column_name)
    return sp.coo_array((triples.values, (triples.rows - 1, triples.columns - 1)), shape=(n_rows, n_columns))


def write_triples(path: Path, matrix: Any, *, by_column: bool) -> None:
    """Write a scipy.sparse matrix to a file of triples (binary if the name ends in .bin), sorted by column or by row."""
    coo = (sp.csc_array(matrix) if by_column else sp.csr_array(matrix)).tocoo()
    rows, columns = coo.coords
    with atomic_path(path) as temporary:
        if path.suffix == ".bin":
            records = np.empty(coo.nnz, RECORD)
            records["row"], records["column"], records["value"] = rows + 1, columns + 1, coo.data
            records.tofile(temporary)
        else:
            frame = pd.DataFrame({"row": rows + 1, "column": columns + 1, "value": _text_values(coo.data)})
            frame.to_csv(temporary, sep="\t", header=False, index=False)


def read_ids(path: Path) -> NDArray[np.int64]:
    """Read a file of 1-based ids, one a line (text) or uint32 each (binary); may be empty.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or a line is not an id above 0, or ids do not ascend.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix == ".bin":
        raw = path.read_bytes()
        if len(raw) % 4:
            raise ValueError(f"{path}: {len(raw)} bytes are not a whole number of 4-byte ids; the file is truncated")
        ids = np.frombuffer(raw, "<u4").astype(np.int64)
    else:
        lines = _open_text(path).splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip().isdecimal() or int(line) > _MAX_ID:
                raise ValueError(f"{path}:{number}: {line.strip()!r} is not an id")
        ids = np.array([int(line) for line in lines], np.int64)
    if ids.size and (ids[0] < 1 or (np.diff(ids) <= 0).any()):
        entry = 0 if ids[0] < 1 else int(np.flatnonzero(np.diff(ids) <= 0)[0]) + 1
        raise ValueError(f"{path}:{entry + 1}: id {ids[entry]}: ids must be above 0 and ascend")
    return ids


def write_ids(path: Path, ids: NDArray[np.int64]) -> None:
    """Write 1-based ids, one a line, or as uint32 if the name ends in .bin."""
    with atomic_path(path) as temporary:
        if path.suffix == ".bin":
            ids.astype("<u4").tofile(temporary)
        else:
            temporary.write_text("".join(f"{i}\n" for i in ids), encoding="ascii")


def _read_binary(path: Path) -> Triples:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not raw:
        raise ValueError(f"{path}: is empty")
    if len(raw) % RECORD.itemsize:
        raise ValueError(
            f"{path}: {len(raw)} bytes are not a whole number of {RECORD.itemsize}-byte records; the file is truncated"
        )
    records = np.frombuffer(raw, RECORD)
    return Triples(
        path, records["row"].astype(np.int64), records["column"].astype(np.int64), records["value"].astype(np.float32), True
    )


def _read_text(path: Path) -> Triples:
    """Read with pandas; only if that fails, look line by line for what is wrong."""
    try:
        frame = pd.read_csv(
            path,
            sep="\t",
            header=None,
            dtype={0: np.int64, 1: np.int64, 2: np.float64},
            na_filter=False,
            quoting=3,
            engine="c",
            on_bad_lines="error",
        )
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: is empty") from None
    except (ValueError, OverflowError, OSError, EOFError, zlib.error) as error:
        _explain(path, error)
    if frame.shape[1] != 3:
        _explain(path, ValueError(f"{frame.shape[1]} fields"))
    frame.columns = _COLUMNS
    if frame.empty:
        raise ValueError(f"{path}: is empty")
    _require_last_newline(path, len(frame))
    with np.errstate(over="ignore"):
        values = frame["value"].to_numpy().astype(np.float32)
    return Triples(path, frame["row"].to_numpy(), frame["column"].to_numpy(), values, False)


def _require_last_newline(path: Path, n_entries: int) -> None:
    """A text cut in the middle of its last number reads as another number; gzip has a checksum of its own."""
    if path.suffix == ".gz":
        return
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) not in b"\r\n":
            raise ValueError(
                f"{path}:{_line_of(path, n_entries - 1)}: the last line has no end, so the file may be truncated; "
                "add a newline if it is whole"
            )


def _explain(path: Path, error: Exception) -> NoReturn:
    """Raise ValueError for the first line that is not a triple."""
    lines = _open_text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        if problem := _problem(line):
            raise ValueError(f"{path}:{number}: {problem}") from error
    raise ValueError(f"{path}: cannot be read: {error}") from error


def _problem(line: str) -> str | None:
    """Say what is wrong with a line of text, if anything."""
    if not line.strip(" \r"):
        return None
    fields = line.split("\t")
    if len(fields) != 3:
        return f"{len(fields)} tab-separated fields in place of 3 (row, column, value): {line[:60]!r}"
    for name, text in zip(_COLUMNS, fields[:2], strict=False):
        if not text.strip().lstrip("+-").isdecimal() or abs(int(text)) > _MAX_ID:
            return f"{name} {text[:40]!r} is not an id"
    try:
        value = float(fields[2])
    except ValueError:
        return f"value {fields[2][:40]!r} is not a number"
    return None if math.isfinite(value) else f"the value {fields[2]} is not finite"


def _open_text(path: Path) -> str:
    try:
        if path.suffix == ".gz":
            return gzip.decompress(path.read_bytes()).decode("utf-8")
        return path.read_text(encoding="utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as text: {error}") from error


def _line_of(path: Path, entry: int) -> int:
    """Line number, from 1, of an entry; blank lines hold none."""
    n_entries = -1
    for number, line in enumerate(_open_text(path).splitlines(), start=1):
        n_entries += bool(line.strip(" \r"))
        if n_entries == entry:
            return number
    return entry + 1


def _refuse_duplicates(triples: Triples, n_columns: int, row_name: str, column_name: str) -> None:
    keys = (triples.rows - 1) * n_columns + triples.columns - 1
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if same.size:
        entry = int(order[same[0] + 1])
        raise ValueError(
            f"{triples.place(entry)}: {row_name} {triples.rows[entry]}, {column_name} {triples.columns[entry]} "
            "is there for the second time"
        )


def _text_values(values: NDArray[np.float32]) -> NDArray[Any]:
    """Whole numbers without a decimal point, as the published files have them."""
    whole = (values == np.trunc(values)) & (np.abs(values) < 2**31)
    return values.astype(np.int64) if whole.all() else values
