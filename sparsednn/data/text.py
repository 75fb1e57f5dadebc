"""Reads text files of numbers strictly: refuses a line of another layout and names its number.

A regular expression decides what a number is, not a parser's leniency (``TRUE``, ``0x10``, ``1.2.3`` and ``nan`` are none);
what it has passed is converted by pandas. It takes longer than pandas, so it passes over blocks of such plain text that
pandas has nothing to be lenient with.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError

BLOCK_BYTES = 1 << 25
"""Bytes that are read at a time."""

_MARK = b"\xef\xbb\xbf"  # a byte-order mark
_LARGEST_ID = 10**18 - 1
_TO_E = bytes.maketrans(b"dD", b"ee")
_BEFORE_THE_LAST = (re.compile(rb"\.[0-9]*+[\t ]"), re.compile(rb"e[0-9+-]*+[\t ]"))  # one class of both takes longer
"""A fraction, or an exponent, in front of another field."""
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Field:
    """One number of a line: its name, the pattern of its text, what that is in words, and the dtype that it is read as."""

    name: str
    pattern: bytes
    what: str
    dtype: type[np.int64] | type[np.float64]


def id_field(name: str) -> Field:
    """Return a field that holds a whole number below 10**18, so that int64 holds it."""
    return Field(name, rb"[+-]?(?=[0-9])0*+[0-9]{0,18}+", "an id", np.int64)


def whole_field(name: str) -> Field:
    """Return a field that holds a whole number, of any size: float64."""
    return Field(name, rb"[+-]?[0-9]++", "a whole number", np.float64)


def number_field(name: str) -> Field:
    """Return a field that holds a decimal number, its exponent marked by e or by Fortran's d: float64."""
    pattern = rb"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eEdD][+-]?[0-9]++)?+"
    return Field(name, pattern, "a number", np.float64)


class Layout:
    """The fields of every line, and what separates them: exactly one tab, or any white space. Blank lines are passed over."""

    def __init__(self, *fields: Field, tabs: bool) -> None:
        self.fields = fields
        self.tabs = tabs
        space, between = (rb"[ ]*+", rb"[ ]*+\t[ ]*+") if tabs else (rb"[ \t]*+", rb"[ \t]++")
        line = space + between.join(field.pattern for field in fields) + space
        self._lines = re.compile(rb"(?:" + line + rb"\n|" + space + rb"\n)*+")
        fractions = fields[-1].what == "a number"
        self._plain = b"0123456789+-\t\n" + (b"" if tabs else b" ") + (b".e" if fractions else b"")
        self._fractional = fractions

    def is_plain(self, lines: bytes) -> bool:
        """Say whether pandas converts these lines right, or refuses them: it takes 2.0 and 2e3 for a whole number, and 1e 5."""
        if not lines.endswith(b"\n") or lines.translate(None, self._plain):
            return False
        return not self._fractional or not any(pattern.search(lines) for pattern in _BEFORE_THE_LAST)

    def first_wrong(self, lines: bytes) -> int | None:
        """Return where the first line starts that does not have this layout; None if all have it."""
        matched = self._lines.match(lines)
        end = 0 if matched is None else matched.end()
        return None if end == len(lines) else end

    def problem(self, line: str) -> str:
        """Say what is wrong with a line that does not have this layout."""
        texts = line.split("\t") if self.tabs else line.split()
        names = ", ".join(field.name for field in self.fields)
        if len(texts) != len(self.fields):
            kind = "tab-separated fields" if self.tabs else "fields"
            return f"{len(texts)} {kind} in place of {len(self.fields)} ({names}): {line[:60]!r}"
        for field, text in zip(self.fields, texts, strict=True):
            if re.fullmatch(field.pattern, text.strip(" ").encode()):
                continue
            if field.what == "a number" and _NOT_FINITE.fullmatch(text.strip()):
                return f"the {field.name} {text.strip()} is not finite"
            return f"{field.name} {text[:40]!r} is not {field.what}"
        return f"{line[:60]!r} is not a line of {names}"


@contextmanager
def opened(path: Path, *, mark: bool = True) -> Iterator[BufferedIOBase]:
    """Open a file, gzipped if its name ends in ``.gz``; with `mark`, behind its byte-order mark if it has one.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or (also later, while it is open) it cannot be read; the message names it.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            if not mark or file.read(len(_MARK)) != _MARK:
                file.seek(0)
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def read_columns(path: Path, file: BufferedIOBase, layout: Layout, first_line: int = 1) -> list[NDArray[Any]]:
    """Return one array for each field of a layout, from the lines that are left in an open file.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    file : binary file
        As `opened` gives it.
    layout : Layout
    first_line : int
        The number, from 1, of the line that the file is at.

    Raises
    ------
    ValueError
        If a line does not have the layout, or the last line of a file that is not gzipped (and so has no checksum) has no end:
        a text cut in the middle of its last number reads as another number. The message names file and line.
    """
    parts: list[list[NDArray[Any]]] = [[np.empty(0, field.dtype)] for field in layout.fields]
    for lines in _blocks(file):
        columns = _if_plain(lines, layout)
        if columns is None:
            if (wrong := layout.first_wrong(lines)) is not None:
                _refuse(path, first_line + lines.count(b"\n", 0, wrong), lines[wrong:].partition(b"\n"), layout)
            columns = _converted(lines.translate(_TO_E), layout)  # Fortran's exponents
        first_line += lines.count(b"\n")
        for column, part in zip(columns, parts, strict=True):
            part.append(column)
    return [np.concatenate(part) for part in parts]


def line_of(path: Path, entry: int, first_line: int = 1) -> int:
    """Return the line, from 1, of an entry, which is counted from 0 and from `first_line` on; blank lines hold none."""
    left = entry
    with opened(path) as file:
        lines = io.TextIOWrapper(file, "latin-1", newline=None)  # type: ignore[type-var]
        for number, line in enumerate(lines, start=1):
            if number >= first_line and line.strip(" \t\n"):
                if left == 0:
                    return number
                left -= 1
    raise IndexError(f"{path}: has no entry {entry}")


def _blocks(file: BufferedIOBase) -> Iterator[bytes]:
    """Yield whole lines, each ending in a line feed; what is behind the last line end comes without one, or with if gzipped."""
    rest = b""
    while block := file.read(BLOCK_BYTES):
        head, feed, tail = block.rpartition(b"\n")
        if feed:
            yield _with_line_feeds(rest + head + feed)
            rest = tail
        else:
            rest += tail
    if rest:
        lines = _with_line_feeds(rest)
        yield lines + b"\n" if isinstance(file, gzip.GzipFile) and not lines.endswith(b"\n") else lines


def _with_line_feeds(lines: bytes) -> bytes:
    return lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in lines else lines


def _refuse(path: Path, number: int, line: tuple[bytes, bytes, bytes], layout: Layout) -> NoReturn:
    raw, end, _ = line
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as text: line {number}: {error}") from None
    if not end and layout.first_wrong(raw + b"\n") is None:
        raise DataError(
            f"{path}:{number}: the last line has no end, so the file may be truncated; add a newline if it is whole"
        )
    raise DataError(f"{path}:{number}: {layout.problem(text)}")


def _if_plain(lines: bytes, layout: Layout) -> list[NDArray[Any]] | None:
    """Convert plain lines without a look at each; None if there is anything to look at."""
    if not layout.is_plain(lines):
        return None
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # ids beyond 64 bits
            columns = _converted(lines, layout)
    except (ValueError, OverflowError):
        return None
    ids = [column for column in columns if column.dtype == np.int64 and column.size]
    return None if any(max(int(column.max()), -int(column.min())) > _LARGEST_ID for column in ids) else columns


def _converted(lines: bytes, layout: Layout) -> list[NDArray[Any]]:
    """Convert lines with pandas; blank ones hold nothing.

    Raises
    ------
    ValueError, OverflowError
        If pandas can't, or a line has more or fewer fields than the layout.
    """
    if not lines.strip(b"\n " if layout.tabs else None):
        return [np.empty(0, field.dtype) for field in layout.fields]
    frame = pd.read_csv(
        io.BytesIO(lines),
        sep="\t" if layout.tabs else r"\s+",
        header=None,
        dtype={number: field.dtype for number, field in enumerate(layout.fields)},
        na_filter=False,
        quoting=csv.QUOTE_NONE,
        engine="c",
    )
    if frame.shape[1] != len(layout.fields):
        raise ValueError(f"{frame.shape[1]} fields in place of {len(layout.fields)}")
    return [frame[number].to_numpy() for number in range(len(layout.fields))]
