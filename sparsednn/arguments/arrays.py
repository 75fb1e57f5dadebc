"""Converts a caller's numbers to the float32 arrays and matrices that kernels take, or refuses them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.errors import DataError, OptionTypeError

LARGEST = float(np.finfo(np.float32).max)
"""The largest number of float32."""


def as_float32(values: Any, name: str) -> Any:
    """Return numbers as float32: a NumPy array, or a scipy.sparse matrix in the format and with the entries that it had.

    Every door takes its numbers in through here. Nothing is copied that is float32 already. Entries that occur twice in a
    sparse matrix are converted before anybody adds them up, so that small types cannot overflow.

    Parameters
    ----------
    values : number, sequence of numbers, NumPy array, tensor on the CPU or scipy.sparse matrix
        Of booleans, integers or floats of any size.
    name : str
        Name of the values in messages.

    Raises
    ------
    TypeError
        If values are complex, masked, text, objects or no numbers at all: what would be lost, or guessed, in a conversion.
    ValueError
        If a sequence of sequences has different lengths.
    """
    if isinstance(values, np.ma.MaskedArray) or values is np.ma.masked:
        raise OptionTypeError(f"{name}: a masked array, whose mask would be lost; fill it first, as in .filled(0)")
    if not sp.issparse(values):
        if isinstance(values, Mapping | Set | str | bytes) or values is None:
            raise OptionTypeError(f"{name}: numbers are needed, not {type(values).__name__}")
        if is_tensor(values):
            values = array_of_tensor(values, name)
        try:
            values = np.asarray(values)
        except ValueError as error:
            raise DataError(f"{name}: not an array of numbers: {error}") from error
    if values.dtype.kind == "c":
        raise OptionTypeError(f"{name}: complex ({values.dtype}); real numbers are needed, as in .real or abs()")
    if values.dtype.kind not in "biuf":
        raise OptionTypeError(f"{name}: holds {values.dtype}; numbers are needed, as of .astype(np.float32)")
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as that
        return values.astype(np.float32, copy=False)


def is_tensor(value: Any) -> bool:
    """Return whether a value is another library's array, which NumPy can read in place (DLPack)."""
    return hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic)


def array_of_tensor(tensor: Any, name: str) -> NDArray[Any]:
    """Return the numbers of another library's tensor, without its gradients, as a NumPy array that shares its memory.

    Raises
    ------
    TypeError
        If it is not on the CPU, sparse, or of a type of numbers that NumPy lacks.
    """
    detach = getattr(tensor, "detach", None)
    try:
        array: NDArray[Any] = np.from_dlpack(detach() if callable(detach) else tensor)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OptionTypeError(
            f"{name}: {type(tensor).__name__} cannot be read where it is ({reason}); give plain numbers on the CPU, as of "
            ".cpu().float(), or .to_dense()"
        ) from error
    return array


def canonical_inputs(inputs: Any, n_inputs: int) -> sp.csr_array:
    """Return inputs as the kernels want them.

    A ``csr_array`` of float32 with sorted indices (int32, unless there are 2**31 entries or more), no duplicates and no
    explicit zeros; what is already so is not copied, and the caller's matrix is not changed.

    Raises
    ------
    TypeError, ValueError
        If `inputs` is no matrix of real numbers, has another width than `n_inputs`, or holds NaN or infinite values.
    """
    if not sp.issparse(inputs) and not isinstance(inputs, np.ndarray):
        raise OptionTypeError(f"inputs must be a scipy.sparse matrix or a NumPy array, not {type(inputs).__name__}")
    require_width(inputs.shape, n_inputs)
    if sp.issparse(inputs):
        require_valid_indices(inputs, "inputs")
    csr = sp.csr_array(as_float32(inputs, "inputs"))
    if not csr.has_canonical_format or not csr.data.all():
        csr = csr.copy()  # it may share arrays with the caller's matrix
        csr.sum_duplicates()
        csr.eliminate_zeros()
    bad = np.flatnonzero(~np.isfinite(csr.data))
    if bad.size:
        row = int(np.searchsorted(csr.indptr, bad[0], side="right"))
        raise DataError(f"inputs: instance {row}, feature {csr.indices[bad[0]] + 1} is {csr.data[bad[0]]}, which is not finite")
    if csr.indices.dtype != np.int32 and csr.nnz <= np.iinfo(np.int32).max:
        indices, indptr = csr.indices.astype(np.int32), csr.indptr.astype(np.int32)
        csr = sp.csr_array((csr.data, indices, indptr), shape=csr.shape)
    return csr


def require_width(shape: tuple[int, ...], n_inputs: int) -> None:
    """Refuse inputs of another width than a network's; raises ValueError."""
    if len(shape) != 2 or shape[1] != n_inputs:
        raise DataError(f"inputs have shape {shape}, but the network has {n_inputs} inputs")


def canonical_csc(matrix: Any, name: str) -> sp.csc_array:
    """Return `matrix`, sparse or dense, as a float32 ``csc_array``: sorted, duplicates added up, no zeros, all finite.

    Raises
    ------
    ValueError
        If it has not two dimensions, or a value is NaN, infinite or beyond float32; the message names the entry.
    TypeError
        If it does not hold real numbers.
    """
    if not sp.issparse(matrix):
        matrix = as_float32(matrix, name)
    if matrix.ndim != 2:
        raise DataError(f"{name}: has shape {matrix.shape}; a matrix of two dimensions is needed")
    if sp.issparse(matrix):
        require_valid_indices(matrix, name)
    csc = sp.csc_array(as_float32(matrix, name), copy=True)
    csc.sum_duplicates()
    bad = np.flatnonzero(~np.isfinite(csc.data))
    if bad.size:
        row, column = csc.indices[bad[0]], np.searchsorted(csc.indptr, bad[0], side="right") - 1
        raise DataError(f"{name}: the weight in row {row}, column {column} (from 0) is {csc.data[bad[0]]}, not finite")
    csc.eliminate_zeros()
    return csc


def require_valid_indices(matrix: Any, name: str) -> None:
    """Refuse a scipy.sparse matrix whose indices lie outside its shape; compiled code would follow them anywhere.

    Raises
    ------
    ValueError
        Naming the matrix and what is wrong with it.
    """
    try:
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
        elif matrix.format == "coo":
            for ids, size in zip(matrix.coords, matrix.shape, strict=True):
                if ids.size and (ids.min() < 0 or ids.max() >= size):
                    bad = ids[(ids < 0) | (ids >= size)][0]
                    raise DataError(f"index {bad} is outside 0..{size - 1}")
    except ValueError as error:
        raise DataError(f"{name}: not a valid sparse matrix: {error}") from error


def finite_bias(bias: Any, n_outputs: int, name: str) -> NDArray[np.float32]:
    """Return the bias of a layer, one number or one for each output, as a new float32 array of shape (n_outputs,).

    Raises
    ------
    TypeError, ValueError
        If it is something else, has another shape, or is not finite.
    """
    if sp.issparse(bias):
        raise OptionTypeError(
            f"{name}: a sparse matrix; give one number, or an array of shape ({n_outputs},), as of .toarray()"
        )
    array = np.array(as_float32(bias, name))
    if array.ndim and array.shape != (n_outputs,):
        raise DataError(f"{name} has shape {array.shape}, but the layer has {n_outputs} outputs")
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or an infinite value")
    return np.broadcast_to(array, (n_outputs,))


def csr_of(
    indptr: NDArray[np.signedinteger], indices: NDArray[np.signedinteger], data: NDArray[np.float32], n: int
) -> sp.csr_array:  # fmt: skip
    """Return a matrix of `n` columns around arrays whose entries are sorted and unique, without looking at them.

    indptr : int32 or int64, shape (n_rows + 1,); indices : int32 or int64, shape (nnz,); data : float32, shape (nnz,). The
    matrix has int32 indices unless there are too many entries: kernels are compiled for that.
    """
    if len(indices) < 2**31:
        indptr, indices = indptr.astype(np.int32, copy=False), indices.astype(np.int32, copy=False)
    csr = sp.csr_array((len(indptr) - 1, n), dtype=np.float32)
    csr.data, csr.indices, csr.indptr = data, indices, indptr
    csr.has_canonical_format = True
    return csr
