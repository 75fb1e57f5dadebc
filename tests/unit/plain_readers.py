"""Slow readers of the file formats, line by line with Python's own int() and float(): what the fast ones are held against."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np

MARK = "\ufeff"
Entries = dict[tuple[int, int], np.float32]


class RefusedError(Exception):
    """A file that is not as its format says."""


def whole(text: str) -> int:
    """A whole number of ASCII digits."""
    if not set(text) <= set("+-0123456789"):
        raise RefusedError(text)
    try:
        return int(text)
    except ValueError:
        raise RefusedError(text) from None


def number(text: str) -> np.float32:
    """A decimal number, rounded to float32, in which it is finite; the exponent may be Fortran's."""
    if not set(text) <= set("+-0123456789.eEdD"):
        raise RefusedError(text)
    try:
        value = float(text.replace("d", "e").replace("D", "e"))
    except ValueError:
        raise RefusedError(text) from None
    with np.errstate(over="ignore"):
        rounded = np.float32(value)
    if not np.isfinite(rounded):
        raise RefusedError(text)
    return rounded


def text_of(path: Path, *, ended: bool) -> str:
    """The text of a file, its line ends brought to line feeds, without its byte-order mark; `ended`: the last line must end."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = raw.removeprefix(MARK.encode()).decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if ended and text and not text.endswith("\n") and path.suffix != ".gz":
        raise RefusedError("no end")
    return text


def triples(path: Path, limit: int) -> Entries:
    """Entries of a square matrix in a text file of triples."""
    found: Entries = {}
    for line in text_of(path, ended=True).split("\n"):
        if not line.strip(" "):
            continue
        fields = [field.strip(" ") for field in line.split("\t")]
        if len(fields) != 3:
            raise RefusedError(line)
        add_once(found, whole(fields[0]), whole(fields[1]), number(fields[2]), limit)
    if not found:
        raise RefusedError("empty")
    return found


def records(path: Path, limit: int) -> Entries:
    """Entries of a square matrix in a binary file of triples."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if not raw or len(raw) % 12:
        raise RefusedError("size")
    found: Entries = {}
    for row, column, value in struct.iter_unpack("<IIf", raw):
        if not np.isfinite(value):
            raise RefusedError(value)
        add_once(found, row, column, np.float32(value), limit)
    return found


def add_once(found: Entries, row: int, column: int, value: np.float32, limit: int) -> None:
    """Add an entry that must lie inside and not be there yet."""
    if not (1 <= row <= limit and 1 <= column <= limit) or (row, column) in found:
        raise RefusedError((row, column))
    found[row, column] = value


def ids(path: Path) -> list[int]:
    """Ids of a truth file."""
    found: list[int] = []
    for line in text_of(path, ended=False).split("\n"):
        text = line.strip(" \t")
        if not text:
            continue
        if not set(text) <= set("0123456789"):
            raise RefusedError(text)
        if int(text) >= 2**31 or int(text) <= (found[-1] if found else 0):
            raise RefusedError(text)
        found.append(int(text))
    return found


def matrix_market(path: Path) -> np.ndarray:
    """The matrix of a Matrix Market file."""
    lines = text_of(path, ended=True).split("\n")
    words = lines[0].lower().split()
    if len(words) != 5 or words[:2] != ["%%matrixmarket", "matrix"]:
        raise RefusedError("head")
    form, kind, symmetry = words[2:]
    if form not in ("coordinate", "array") or kind not in ("real", "double", "integer", "unsigned-integer", "pattern"):
        raise RefusedError(kind)
    if symmetry not in ("general", "symmetric", "skew-symmetric") or (kind == "pattern" and (form, symmetry) not in (
        ("coordinate", "general"), ("coordinate", "symmetric"),
    )):  # fmt: skip
        raise RefusedError(symmetry)
    at = 1
    while at < len(lines) and (lines[at].startswith("%") or not lines[at].strip()):
        at += 1
    sizes = [whole(text) for text in lines[at].split()] if at < len(lines) else []
    rest = [[field for field in re.split("[ \t]", line) if field] for line in lines[at + 1 :]]
    rest = [fields for fields in rest if fields]
    if len(sizes) != (3 if form == "coordinate" else 2) or min(sizes) < 0 or "+" in lines[at] or "-" in lines[at]:
        raise RefusedError("sizes")
    return filled(sizes, rest, kind, symmetry, coordinate=form == "coordinate")


def filled(sizes: list[int], lines: list[list[str]], kind: str, symmetry: str, *, coordinate: bool) -> np.ndarray:
    """The matrix of the lines behind the sizes."""
    n_rows, n_columns = sizes[:2]
    if symmetry != "general" and n_rows != n_columns:
        raise RefusedError("shape")
    skew = symmetry == "skew-symmetric"
    places = [
        (i, j)
        for j in range(1, n_columns + 1)
        for i in range(1, n_rows + 1)
        if symmetry == "general" or i > j or (i == j and not skew)
    ]
    if len(lines) != (sizes[2] if coordinate else len(places)):
        raise RefusedError("count")
    dense = np.zeros((n_rows, n_columns), np.float32)
    for at, fields in enumerate(lines):
        if len(fields) != 2 * coordinate + (kind != "pattern"):
            raise RefusedError(fields)
        row, column = (whole(fields[0]), whole(fields[1])) if coordinate else places[at]
        if (row, column) not in places:
            raise RefusedError((row, column))
        if "integer" in kind:
            whole(fields[-1])
        value = np.float32(1) if kind == "pattern" else number(fields[-1])
        dense[row - 1, column - 1] += value
        if symmetry != "general" and row != column:
            dense[column - 1, row - 1] += -value if skew else value
    return dense
