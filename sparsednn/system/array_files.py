"""Writes arrays into one file, and maps them into memory from there, with a checksum of each part."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sparsednn.system.checksums import first_damaged

ALIGNMENT = 64
"""Bytes; each array begins at a multiple, which is a cache line."""


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], starts: Mapping[str, NDArray[np.int64]]
) -> dict[str, dict[str, Any]]:
    """Write arrays one after the other, in C order; return the table that `MappedArrays` reads them by, ready for JSON.

    Parameters
    ----------
    path : Path
    arrays : mapping of str to arrays
        Of any shape and any dtype of numbers.
    starts : mapping of str to int64 arrays, shape (n_layers,)
        Of flat arrays that have a part for each layer: the entry where that part starts. Layers may share one; -1: it has none.
    """
    table = {}
    with path.open("wb") as file:
        for name, array in arrays.items():
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            table[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "at": file.tell()}
            table[name] |= _write_parts(file, array, starts.get(name))
    return table


def _write_parts(file: BinaryIO, array: NDArray[Any], starts: NDArray[np.int64] | None) -> dict[str, list[int]]:
    """Write an array part by part; return where each part starts, the first layer that has it, and its CRC-32."""
    flat = np.ascontiguousarray(array).reshape(-1)
    first, layers = np.zeros(1, np.int64), np.zeros(1, np.int64)
    if starts is not None and (starts >= 0).any():
        having = np.flatnonzero(starts >= 0)
        first, at = np.unique(starts[having], return_index=True)
        layers = having[at]
        first[0] = 0
    checksums = []
    for entries in _parts(flat, first):
        checksums.append(zlib.crc32(entries))
        file.write(entries)
    return {"starts": first.tolist(), "layers": layers.tolist() if starts is not None else [], "checksums": checksums}


def _parts(flat: NDArray[Any], starts: NDArray[np.int64]) -> Iterator[memoryview]:
    for start, stop in zip(starts, [*starts[1:], len(flat)], strict=True):
        yield flat[start:stop].view(np.uint8).data


class MappedArrays:
    """The arrays of a file that `write_arrays` has written. They are read when they are used, and not to be written to.

    Parameters
    ----------
    path : Path
    table : mapping
        Places of the arrays in the file, as `write_arrays` returned them.

    Attributes
    ----------
    arrays : dict of str to arrays
    n_bytes : int
        Of the file.

    Raises
    ------
    OSError
        If the file is not there or cannot be mapped.
    ValueError
        If it is too short, or too long.
    """

    def __init__(self, path: Path, table: Mapping[str, Mapping[str, Any]]) -> None:
        self.path, self._table = path, table
        self.n_bytes = path.stat().st_size
        ends = [one["at"] + np.dtype(one["dtype"]).itemsize * int(np.prod(one["shape"])) for one in table.values()]
        if self.n_bytes != max(ends, default=0):
            raise ValueError(f"{self.n_bytes:,} bytes long, not {max(ends, default=0):,}")
        # copy on write: kernels are compiled for arrays that can be written, though none writes to these
        memory = np.asarray(np.memmap(path, np.uint8, mode="c")) if self.n_bytes else np.empty(0, np.uint8)
        self.arrays: dict[str, NDArray[Any]] = {
            name: memory[one["at"] : end].view(one["dtype"]).reshape(one["shape"])
            for (name, one), end in zip(table.items(), ends, strict=True)
        }

    def damage(self) -> str | None:
        """Read everything; return what is not as it was written, first of all; None: all is."""
        names = list[str]()
        parts, checksums = list[memoryview](), list[int]()
        for name, one in self._table.items():
            entries = list(_parts(self.arrays[name].reshape(-1), np.array(one["starts"], np.int64)))
            names += [f"layer {layer + 1}, {name}" for layer in one["layers"]] or [name] * len(entries)
            parts, checksums = parts + entries, checksums + one["checksums"]
        damaged = first_damaged(parts, checksums)
        return None if damaged is None else names[damaged]
