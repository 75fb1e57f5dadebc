"""Reads arrays from files of users: idx (the format of MNIST's files), .npy and .npz; nothing is ever unpickled."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError
from sparsednn.system.memory import require

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Types of numbers by the third byte of an idx file."""

_MAX_AXES = 8


def is_idx(path: Path) -> bool:
    """Return whether a file, or what is compressed in it, begins as idx files do; raises FileNotFoundError."""
    _require_file(path)
    try:
        with _opened(path) as file:
            start = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in IDX_TYPES


def read_idx(path: Path) -> NDArray[Any]:
    """Read an idx file, gzipped or not: two zero bytes, type, number of axes, their lengths (uint32), the numbers; big-endian.

    Returns
    -------
    array of uint8, int8, int16, int32, float32 or float64, in the machine's byte order

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If there is no such file, it is no idx file, or shorter or longer than its header says.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "The IDX file format".
    """
    _require_file(path)
    try:
        with _opened(path) as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES or not 1 <= start[3] <= _MAX_AXES:
                raise DataError(f"{path}: is no idx file, as those of MNIST are: it begins with {start!r}")
            dtype, raw = np.dtype(IDX_TYPES[start[2]]), file.read(4 * start[3])
            shape = tuple(np.frombuffer(raw[: len(raw) // 4 * 4], ">u4").tolist())
            n_bytes = math.prod(shape) * dtype.itemsize
            require(2 * n_bytes, f"{path}: an array of shape {shape}", "is its header right?")
            content = file.read(n_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if len(shape) != start[3] or len(content) != n_bytes:
        raise DataError(f"{path}: does not hold an array of the shape {shape} that its header says; is it cut off?")
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def array_of_npy(path: Path) -> NDArray[Any]:
    """Map the array of an .npy file; raises FileNotFoundError or ValueError, in one line that begins with the path."""
    _require_file(path)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no .npy file, or a damaged one: {_first_line(error)}") from error
    if not isinstance(found, np.ndarray):
        raise DataError(f"{path}: holds several arrays; this is an .npz file")
    return found


def arrays_of_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If there is no such file, it is damaged, or holds objects, which are never unpickled.
    """
    _require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
        require(2 * n_bytes, f"{path}: arrays of {n_bytes:,} bytes", "keep less in one file")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except MemoryError:
        raise
    # RuntimeError: of a member that is encrypted, or of a compression or a version that zipfile does not know
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{path}: no .npz file, or a damaged one: {_first_line(error)}") from error


def only_array(
    path: Path, arrays: Mapping[str, NDArray[Any]], names: Sequence[str], others: Sequence[str]
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the array that has one of some names, or is the only one; and the one of the other names, if there is one.

    Raises
    ------
    ValueError
        If nobody can tell which it is; the message has the names that are legal, and those that there are.
    """
    if {"indptr", "indices"} <= arrays.keys():
        raise DataError(f"{path}: is a sparse matrix of scipy.sparse.save_npz, which input=files reads")
    found, beside = ([name for name in some if name in arrays] for some in (names, others))
    if not found:
        found = [name for name in arrays if name not in others]
    if len(found) != 1 or len(beside) > 1:
        there = ", ".join(arrays) or "nothing"
        raise DataError(
            f"{path}: holds {there}; one array {' or '.join(names)} is needed, and at most one {' or '.join(others)}"
        )
    return arrays[found[0]], arrays[beside[0]] if beside else None


def _opened(path: Path) -> Any:
    """Open a file, uncompressed whatever its name is."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise MissingFileError(f"{path}: {'is a folder; a file is needed' if path.is_dir() else 'no such file'}")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
