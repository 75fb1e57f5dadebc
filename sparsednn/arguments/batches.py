"""Takes a caller's dense or sparse batch as a float32 array without a copy where that can be, or refuses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.errors import DataError, OptionTypeError


def dense_batch(x: Any, n_inputs: int) -> tuple[NDArray[np.float32], bool]:
    """Return a batch as float32 (instances, n_inputs), and whether it was given as one instance of shape (n_inputs,).

    Raises
    ------
    TypeError
        If it is no array or matrix, or of another type of numbers than float32, bool and integers.
    ValueError
        If it has another shape, or an integer that float32 does not hold.
    """
    if type(x) is not np.ndarray:
        x = _array_of(x, n_inputs)
    if x.dtype != np.float32 or not x.dtype.isnative:
        x = _as_float32(x)
    if not x.flags.aligned:
        x = x.copy()
    if x.ndim == 2 and x.shape[1] == n_inputs:
        return x, False
    if x.ndim == 1 and x.shape[0] == n_inputs:
        return x[np.newaxis], True
    raise DataError(f"x has shape {x.shape}; the network takes (instances, {n_inputs}) or ({n_inputs},)")


def _array_of(x: Any, n_inputs: int) -> NDArray[Any]:
    """Return what is no plain array as one."""
    if sp.issparse(x):
        if x.ndim != 2 or x.shape[1] != n_inputs:
            raise DataError(f"x has shape {x.shape}; the network takes (instances, {n_inputs})")
        dense: NDArray[np.float32] = x.astype(_float32_for(x.dtype, x.data)).toarray()
        return dense
    if isinstance(x, np.ma.MaskedArray):
        raise OptionTypeError("x: a masked array, whose mask would be lost; fill it first, as in .filled(0)")
    if isinstance(x, np.ndarray):
        return np.asarray(x)
    if hasattr(x, "__dlpack__"):
        try:
            return np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError) as error:
            raise OptionTypeError(f"x: {type(x).__name__} cannot be read where it is ({error}); bring it to the CPU") from error
    raise OptionTypeError(f"x: a NumPy array or scipy.sparse matrix is needed, not {type(x).__name__}")


def require_float32_holds(x: NDArray[Any]) -> None:
    """Raise TypeError or ValueError unless a batch has float32, bool, or integers that float32 holds exactly."""
    _float32_for(x.dtype, x)


def _as_float32(x: NDArray[Any]) -> NDArray[np.float32]:
    return x.astype(_float32_for(x.dtype, x))


def _float32_for(dtype: np.dtype[Any], values: NDArray[Any]) -> type[np.float32]:
    """Return float32 if it holds all values exactly; else refuse."""
    if dtype.kind == "f" and dtype.itemsize == 4:
        return np.float32
    if dtype.kind not in "biu":
        raise OptionTypeError(f"x holds {dtype}; float32 is needed: convert it yourself, as by x.astype(np.float32)")
    if dtype.kind != "b" and dtype.itemsize > 2:
        with np.errstate(over="ignore"):
            wrong = values[values.astype(np.float32).astype(np.float64) != values.astype(np.float64)]
        if wrong.size:
            raise DataError(f"x holds the integer {wrong[0]}, which float32 does not hold; use x.astype(np.float32) to round")
    return np.float32


def output_array(out: Any, batch: NDArray[np.float32], n_outputs: int) -> NDArray[np.float32]:
    """Return the array for a batch's activations: the caller's, checked, or a new one of shape (instances, n_outputs).

    Raises
    ------
    TypeError, ValueError
        If `out` has another shape or type, cannot be written, or overlaps the batch.
    """
    shape = (batch.shape[0], n_outputs)
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.dtype.isnative or not out.flags.aligned:
        found = f"{out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise OptionTypeError(f"out: an aligned NumPy array of float32 is needed, not {found}")
    if out.shape != shape:
        raise DataError(f"out has shape {out.shape}; {shape} is needed")
    if not out.flags.writeable:
        raise DataError("out cannot be written")
    if np.may_share_memory(out, batch):
        raise DataError("out overlaps x, which would be overwritten while it is read")
    return out
