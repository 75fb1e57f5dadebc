"""Reads and writes (id, number) pairs: DistSparseDNN's biases (neuron, bias) and predictions (instance, class)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsednn.data.text import Field, Layout, id_field, line_of, opened, read_columns
from sparsednn.data.triples import is_binary, records_of
from sparsednn.errors import DataError
from sparsednn.system.files import atomic_path


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs as a file has them: ids (int64) and values, float64 or int64, shape (n,), in the file's order."""

    path: Path
    ids: NDArray[np.int64]
    values: NDArray[Any]

    def place(self, entry: int) -> str:
        """Say where a pair is: file and line, or file and record."""
        if is_binary(self.path):
            return f"{self.path}: record {entry + 1}"
        return f"{self.path}:{line_of(self.path, entry)}"

    def require_once_within(self, name: str, first: int, n: int) -> None:
        """Refuse an id outside ``first..first + n - 1``, and one that is there twice, naming file, line and id.

        Raises
        ------
        ValueError
        """
        bad = np.flatnonzero((self.ids < first) | (self.ids >= first + n))
        if bad.size:
            raise DataError(f"{self.place(bad[0])}: {name} {self.ids[bad[0]]} is outside {first}..{first + n - 1}")
        order = np.argsort(self.ids, kind="stable")
        same = np.flatnonzero(np.diff(self.ids[order]) == 0)
        if same.size:
            entry = int(order[same[0] + 1])
            raise DataError(f"{self.place(entry)}: {name} {self.ids[entry]} is there for the second time")


def read_pairs(path: Path, name: str, value: Field) -> Pairs:
    """Read a file of pairs: text, fields separated by white space, or uint32 id and float32 or uint32 value; may be gzipped.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is truncated or malformed; the message names file and line.
    """
    if is_binary(path):
        records = records_of(path, _record(np.dtype(value.dtype)), "records")
        return Pairs(path, records["id"].astype(np.int64), records["value"].astype(value.dtype))
    with opened(path) as file:
        ids, values = read_columns(path, file, Layout(id_field(name), value, tabs=False))
    return Pairs(path, ids, values)


def write_pairs(path: Path, ids: NDArray[np.int64], values: NDArray[Any]) -> None:
    """Write pairs of ids and float32 or int64 values: binary if the name ends in ``.bin``, else text."""
    with atomic_path(path) as temporary:
        if is_binary(path):
            records = np.empty(len(ids), _record(values.dtype))
            records["id"], records["value"] = ids, values
            records.tofile(temporary)
        else:
            pd.DataFrame({"id": ids, "value": values}).to_csv(temporary, sep=" ", header=False, index=False)


def _record(values: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype([("id", "<u4"), ("value", "<f4" if values.kind == "f" else "<u4")])
