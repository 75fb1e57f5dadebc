"""Reads labels, the class of each instance, from files of users: idx, .npy, .npz or text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.data.arrays_in_files import array_of_npy, arrays_of_npz, is_idx, only_array, read_idx
from sparsednn.data.dense_instances import X_NAMES, Y_NAMES
from sparsednn.data.text import opened
from sparsednn.errors import DataError

_MAX_DIGITS = 18


def read_labels(path: Path) -> NDArray[Any]:
    """Read labels: the array of an idx or .npy file, the array y or labels of an .npz, or a text with one whole number a line.

    Texts may be gzipped; blank lines are passed over.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If the file is missing, damaged, or a line of a text is no whole number; in one line that begins with the path.
    """
    name = path.name.lower()
    if name.endswith(".npy"):
        return np.array(array_of_npy(path))
    if name.endswith(".npz"):
        return only_array(path, arrays_of_npz(path), Y_NAMES, X_NAMES)[0]
    return read_idx(path) if is_idx(path) else _text_labels(path)


def _text_labels(path: Path) -> NDArray[np.int64]:
    labels = []
    with opened(path) as file:
        for number, raw in enumerate(file.read().splitlines(), start=1):
            line = raw.strip()
            if line and not (line.isdigit() and len(line) <= _MAX_DIGITS):
                raise DataError(f"{path}:{number}: {line[:40].decode(errors='replace')!r} is no label: a class, from 0, a line")
            if line:
                labels.append(int(line))
    return np.array(labels, np.int64)
