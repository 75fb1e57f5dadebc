"""Reads and writes vectors of float32: a number a line, little-endian binary, or an array of NumPy (``.npy``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.arrays import as_float32
from sparsednn.data.text import Layout, line_of, number_field, opened, read_columns
from sparsednn.data.triples import is_binary, records_of
from sparsednn.errors import DataError, MissingFileError
from sparsednn.system.files import atomic_path

VECTOR_SUFFIXES = (".tsv", ".tsv.gz", ".bin", ".bin.gz", ".npy")
_LAYOUT = Layout(number_field("value"), tabs=True)
_RECORD = np.dtype("<f4")


def read_vector(path: Path, n: int | None = None, of: str = "neurons") -> NDArray[np.float32]:
    """Read a vector of `n` numbers: text, ``.bin`` (both may be gzipped) or ``.npy``. Shape (n,); any length if `n` is None.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If there is no such file, it is malformed, has another length, or holds what is not finite in float32; the message names
        the file and the line, or the number of the value, from 1.
    """
    if path.suffix.lower() == ".npy":
        values = _read_npy(path)
    elif is_binary(path):
        values = records_of(path, _RECORD, "numbers").astype(np.float32)
    else:
        with opened(path) as file:
            (column,) = read_columns(path, file, _LAYOUT)
        values = as_float32(column, f"{path}: value")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        place = f"{path}: value {bad[0] + 1}" if is_binary(path) or path.suffix == ".npy" else f"{path}:{line_of(path, bad[0])}"
        raise DataError(f"{place}: {values[bad[0]]} is not finite in float32")
    if n is not None and len(values) != n:
        raise DataError(f"{path}: has {len(values)} values, but there are {n} {of}; is the file whole, and of this layer?")
    return values


def write_vector(path: Path, values: NDArray[np.float32]) -> None:
    """Write a vector as text, a number a line, each with as many digits as float32 needs."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{value}\n" for value in values.astype(str)), encoding="ascii")


def _read_npy(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # a header that lies is refused before memory is taken
    except MemoryError:
        raise
    except Exception as error:  # NumPy raises nearly anything on a damaged file
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise DataError(f"{path}: holds an array of shape {getattr(array, 'shape', None)}; one of shape (n,) is needed")
    return np.asarray(as_float32(array, str(path)))
