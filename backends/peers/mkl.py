"""Multiplies with Intel MKL's inspector-executor sparse BLAS: CSR layers times dense blocks stored by rows.

Called through ctypes, since MKL's wheel brings no Python module: each layer is inspected once, while the plan is made.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import scipy.sparse as sp

from backends.peers.base import INSTALL, LayerwisePeer
from backends.peers.blocks import Float32
from sparsednn.errors import MemoryShortageError, MissingPackageError

NON_TRANSPOSE, GENERAL, ROW_MAJOR, BASE_0, LP64 = 10, 20, 101, 0, 0
"""Constants of mkl_spblas.h and mkl_service.h."""

EXPECTED_CALLS = 1000
"""Products by each layer that MKL is told to expect: enough to make any inspection worth its time."""


class _Description(ctypes.Structure):
    """``struct matrix_descr``: a general matrix, whose mode and diagonal do not matter."""

    _fields_ = (("type", ctypes.c_int), ("mode", ctypes.c_int), ("diagonal", ctypes.c_int))


GENERAL_MATRIX = _Description(GENERAL, 0, 0)


class MklMatrix:
    """A sparse matrix that MKL has inspected; lives as long as this object."""

    def __init__(self, library: Any, matrix: sp.csr_array, block_rows: int) -> None:
        self._arrays = (matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data)  # MKL keeps no copy
        starts, indices, values = (array.ctypes.data for array in self._arrays)
        self.handle = ctypes.c_void_p()
        ends = starts + self._arrays[0].itemsize
        _call(
            library.mkl_sparse_s_create_csr, ctypes.byref(self.handle), BASE_0, *matrix.shape, ctypes.c_void_p(starts),
            ctypes.c_void_p(ends), ctypes.c_void_p(indices), ctypes.c_void_p(values),
        )  # fmt: skip
        self._finalizer = weakref.finalize(self, library.mkl_sparse_destroy, self.handle)
        hint = (NON_TRANSPOSE, GENERAL_MATRIX, ROW_MAJOR, block_rows, EXPECTED_CALLS)
        _call(library.mkl_sparse_set_mm_hint, self.handle, *hint)
        _call(library.mkl_sparse_optimize, self.handle)


class MklBackend(LayerwisePeer):
    """``mkl_sparse_s_mm`` on inspected layers."""

    name = "mkl"
    block_rows = 256
    entry_bytes = 16

    def __init__(self) -> None:
        self._mkl = _library()

    @property
    def library(self) -> Any:
        """The loaded library."""
        return self._mkl

    def weights(self, matrix: sp.csr_array) -> MklMatrix:
        """Return an inspected matrix."""
        return MklMatrix(self._mkl, matrix, self.block_rows)

    def multiply(self, weights: MklMatrix, block: Float32, out: Float32) -> tuple[Float32, Float32]:
        """Multiply into `out`."""
        n = block.shape[1]
        _call(
            self._mkl.mkl_sparse_s_mm, NON_TRANSPOSE, ctypes.c_float(1), weights.handle, GENERAL_MATRIX, ROW_MAJOR,
            ctypes.c_void_p(block.ctypes.data), n, n, ctypes.c_float(0), ctypes.c_void_p(out.ctypes.data), n,
        )  # fmt: skip
        return block, out

    def set_threads(self, n_threads: int) -> int:
        """Set MKL's threads for calls of this thread; 0 stands for what holds for the whole process."""
        return int(self._mkl.MKL_Set_Num_Threads_Local(n_threads))


@cache
def _library() -> Any:
    """Load MKL with 32-bit indices, and keep it from using fewer threads than it is told."""
    try:
        files = metadata.files("mkl") or []
    except metadata.PackageNotFoundError as error:
        raise MissingPackageError(f"{error}; {INSTALL}") from error
    paths = [file.locate() for file in files if file.name.startswith("libmkl_rt.so")]
    if not paths:
        raise MissingPackageError(f"the package mkl has no libmkl_rt.so; {INSTALL}")
    try:
        library = ctypes.CDLL(str(paths[0]))
    except OSError as error:
        raise MissingPackageError(f"{error}; {INSTALL}") from error
    library.MKL_Set_Interface_Layer(LP64)
    library.MKL_Set_Dynamic(0)
    return library


def _call(function: Any, *arguments: Any) -> None:
    """Call a function of MKL and check its status."""
    status = function(*arguments)
    if status == 2:
        raise MemoryShortageError(f"{function.__name__}: MKL found no memory")
    if status:
        raise RuntimeError(f"{function.__name__} returned status {status} (see sparse_status_t in mkl_spblas.h)")
