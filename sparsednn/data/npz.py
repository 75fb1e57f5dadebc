"""Reads sparse matrices that ``scipy.sparse.save_npz`` has saved (``.npz``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import as_float32, require_valid_indices
from sparsednn.errors import DataError, MissingFileError

_INDICES = ("indices", "indptr", "row", "col", "coords", "offsets", "shape")
_KEYS = {"format", "data", "_is_array", *_INDICES}
_COMPRESSED = {"csr": sp.csr_array, "csc": sp.csc_array, "bsr": sp.bsr_array}


def read_npz(path: Path) -> Any:
    """Read a sparse matrix.

    Returns
    -------
    csr_array, csc_array, bsr_array or coo_array of float32
        Converted before anything is added up: entries that are there twice stand for their sum, also where the file has them in
        a type too small for it.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, it is damaged, holds anything else, or a matrix that is not two-dimensional, not of real
        numbers, not finite in float32, or has indices outside its shape; the message names the file.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        _require_real_matrix(arrays)
        matrix = _matrix(arrays)
    except MemoryError:
        raise
    except Exception as error:  # NumPy, zipfile and scipy raise nearly anything on a damaged file
        raise DataError(f"{path}: cannot be read: {error}") from error
    require_valid_indices(matrix, str(path))
    bad = np.flatnonzero(~np.isfinite(matrix.data))
    if bad.size:
        raise DataError(f"{path}: holds {matrix.data.flat[bad[0]]}, not finite in float32")
    return matrix


def _require_real_matrix(arrays: dict[str, NDArray[Any]]) -> None:
    if not {"format", "data", "shape"} <= arrays.keys():
        raise DataError(f"holds {', '.join(arrays) or 'nothing'}, not a matrix that scipy.sparse.save_npz has saved")
    if unknown := sorted(arrays.keys() - _KEYS):
        raise DataError(f"holds {', '.join(unknown)} beside a sparse matrix, which would be ignored")
    for name in arrays.keys() & set(_INDICES):
        if arrays[name].dtype.kind not in "iu":
            raise DataError(f"{name} is {arrays[name].dtype}, not whole numbers")
    if arrays["shape"].shape != (2,):
        raise DataError(f"has the shape {tuple(arrays['shape'].ravel().tolist())}; a matrix of rows and columns is needed")


def _matrix(arrays: dict[str, NDArray[Any]]) -> Any:
    form, shape = str(arrays["format"].astype(str)), tuple(arrays["shape"].tolist())
    data = as_float32(arrays["data"], "the values")
    used = _used(form, arrays)
    if used and (unused := sorted(arrays.keys() & set(_INDICES) - used - {"shape"})):
        raise DataError(f"holds {', '.join(unused)}, which would be ignored in the format {form!r}")
    if form in _COMPRESSED:
        return _COMPRESSED[form]((data, arrays["indices"], arrays["indptr"]), shape=shape)
    if form == "dia":
        return sp.dia_array((data, arrays["offsets"]), shape=shape).tocoo()
    if form == "coo":
        return sp.coo_array((data, arrays["coords"] if "coords" in arrays else (arrays["row"], arrays["col"])), shape=shape)
    raise DataError(f"is in the format {form!r}; legal are {', '.join(_COMPRESSED)}, dia and coo")


def _used(form: str, arrays: dict[str, NDArray[Any]]) -> set[str]:
    """The arrays of indices that a format has; nothing for an unknown one."""
    if form in _COMPRESSED:
        return {"indices", "indptr"}
    if form == "dia":
        return {"offsets"}
    if form == "coo":
        return {"coords"} if "coords" in arrays else {"row", "col"}
    return set()
