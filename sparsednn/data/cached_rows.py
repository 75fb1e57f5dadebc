"""Keeps compact rows in a file of the cache folder, and maps them into memory from there.

A file has a line that says what it is, where each row's entries start, a CRC-32 of each part of 1,000 rows, and the ids. Only
the parts that are asked for are read, and reading them is what checks them.
"""

from __future__ import annotations

import logging
import sys
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsednn.data.compact_rows import CompactRows
from sparsednn.system.cache import UNFINISHED, write_cached
from sparsednn.system.checksums import first_damaged
from sparsednn.system.temporary import remove_abandoned

PART_ROWS = 1000
ALIGNMENT = 64
"""Bytes; each array begins at a multiple, which is a cache line."""

_LOG = logging.getLogger(__name__)


def write_rows(path: Path, rows: CompactRows, otherwise: str) -> None:
    """Write rows, or warn with a line that has `otherwise`."""
    indptr = np.ascontiguousarray(rows.indptr, np.int32)
    parts = _parts(rows, range(_n_parts(rows.shape[0])))
    checksums = np.array([zlib.crc32(indptr.data), *(zlib.crc32(part) for part in parts)], np.uint32)

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for content in (_about(*rows.shape), indptr.data, checksums.data, np.ascontiguousarray(rows.indices).data):
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                file.write(content)

    write_cached(path, save, otherwise)


def map_rows(path: Path, shape: tuple[int, int], value: float, ids: NDArray[np.int64], otherwise: str) -> CompactRows | None:
    """Return the rows of a file; None if it is not there or, with a warning that ends with `otherwise`, damaged.

    Parameters
    ----------
    shape : rows of the file, and inputs
    value : float
        Of all entries.
    ids : int64 array
        Rows of the result that will be read, 0-based: only their entries are checked.
    """
    remove_abandoned(path.parent, UNFINISHED)
    try:
        return _mapped(path, shape, value, ids)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        _LOG.warning("%s: not readable (%s); %s", path, error, otherwise)
        return None


def _mapped(path: Path, shape: tuple[int, int], value: float, ids: NDArray[np.int64]) -> CompactRows:
    """Raises ValueError with what is not as it was written."""
    n_rows, n_inputs = shape
    about, sizes = _about(n_rows, n_inputs), (4 * (n_rows + 1), 4 * (_n_parts(n_rows) + 1))
    indptr_at = _aligned(len(about))
    checksums_at = _aligned(indptr_at + sizes[0])
    indices_at = _aligned(checksums_at + sizes[1])
    if path.stat().st_size < indices_at:
        raise ValueError("it is cut off")
    # copy on write: kernels are compiled for arrays that can be written, though none writes to these
    memory = np.asarray(np.memmap(path, np.uint8, mode="c"))
    if memory[: len(about)].tobytes() != about:
        raise ValueError("it does not hold these rows, or those of another version")
    indptr = memory[indptr_at : indptr_at + sizes[0]].view(np.int32)
    checksums = memory[checksums_at : checksums_at + sizes[1]].view(np.uint32).tolist()
    if zlib.crc32(indptr.data) != checksums[0]:
        raise ValueError("the checksum of its starts of rows differs")
    if len(memory) != indices_at + 2 * int(indptr[-1]):
        raise ValueError(f"{len(memory):,} bytes long, not {indices_at + 2 * int(indptr[-1]):,}")
    rows = CompactRows(indptr, memory[indices_at:].view(np.uint16), n_inputs, value)
    wanted = np.unique(ids // PART_ROWS).tolist()
    damaged = first_damaged(_parts(rows, wanted), [checksums[1 + part] for part in wanted])
    if damaged is not None:
        raise ValueError(f"the checksum of instances from {wanted[damaged] * PART_ROWS + 1} on differs")
    return rows


def _about(n_rows: int, n_inputs: int) -> bytes:
    return f"sparsednn compact rows 1: {n_rows} x {n_inputs}, {sys.byteorder}\n".encode()


def _n_parts(n_rows: int) -> int:
    return -(-n_rows // PART_ROWS)


def _parts(rows: CompactRows, numbers: range | list[int]) -> list[memoryview]:
    """The ids of some parts."""
    ends = rows.indptr[np.minimum(np.arange(_n_parts(rows.shape[0]) + 1) * PART_ROWS, rows.shape[0])]
    return [rows.indices[ends[number] : ends[number + 1]].view(np.uint8).data for number in numbers]


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
