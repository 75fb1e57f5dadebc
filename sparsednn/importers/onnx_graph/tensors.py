"""Reads the tensors of an ONNX file, those in other files of its folder too, and trusts none of what they say of themselves."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError
from sparsednn.system.memory import require

if TYPE_CHECKING:
    from onnx import SparseTensorProto, TensorProto

FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
WAY_OUT = "import where there is more memory"


class TensorReader:
    """Reads tensors of one file.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    folder : Path, or None
        Where other files may lie, and nowhere else; None: there are none.
    digest : hash
        Has seen all that was read from other files.
    """

    def __init__(self, name: str, folder: Path | None, digest: hashlib._Hash) -> None:
        self.name, self.folder, self.digest = name, folder, digest

    def array(self, tensor: TensorProto) -> NDArray[Any]:
        """Return a tensor as an array.

        Raises
        ------
        ValueError, FileNotFoundError
            If its shape does not fit what it holds, or what it holds lies outside the folder.
        """
        import onnx

        where = f"{self.name}: tensor {shown(tensor.name)}"
        dims = tuple(tensor.dims)
        if any(size < 0 for size in dims):
            raise DataError(f"{where}: has the shape {dims}")
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor = self._from_file(tensor, where)
        held = 2 * len(tensor.raw_data) if tensor.raw_data else max(2 * len(getattr(tensor, field)) for field in FIELDS)
        if math.prod(dims) > held:
            raise DataError(f"{where}: says that it has the shape {dims}, but holds fewer numbers")
        array: NDArray[Any] = one_line(where, lambda: np.asarray(onnx.numpy_helper.to_array(tensor)))
        return array

    def sparse_array(self, sparse: SparseTensorProto) -> NDArray[Any]:
        """Return a sparse tensor as a dense array; raises as `array` does, and MemoryError."""
        where = f"{self.name}: sparse tensor {shown(sparse.values.name)}"
        values, indices, dims = self.array(sparse.values), self.array(sparse.indices), tuple(sparse.dims)
        if any(size < 0 for size in dims) or values.ndim != 1 or indices.dtype.kind not in "iu":
            raise DataError(f"{where}: has the shape {dims}, values of shape {values.shape} and indices of {indices.dtype}")
        n = math.prod(dims)
        require(n * values.itemsize, f"{where}, as a dense array of shape {dims},", WAY_OUT)
        if indices.shape == (len(values), len(dims)) and indices.ndim == 2:
            if indices.size and ((indices < 0) | (indices >= np.array(dims))).any():
                raise DataError(f"{where}: an index lies outside its shape {dims}")
            flat = np.ravel_multi_index(tuple(indices.T), dims)
        else:
            flat = indices.reshape(-1)
        if len(flat) != len(values) or (len(flat) and (flat.min() < 0 or flat.max() >= n)):
            raise DataError(f"{where}: an index lies outside its shape {dims}, or there are not as many as values")
        dense = np.zeros(n, values.dtype)
        dense[flat] = values
        return dense.reshape(dims)

    def _from_file(self, tensor: TensorProto, where: str) -> TensorProto:
        """Return a tensor that holds what another file has of it."""
        import onnx

        said = {entry.key: entry.value for entry in tensor.external_data}
        path = self._inside(said.get("location", ""), where)
        try:
            offset, size = int(said.get("offset", "0")), path.stat().st_size
            length = int(said.get("length", str(size - offset)))
        except ValueError:
            raise DataError(f"{where}: its offset or length in {path.name} is no whole number") from None
        if offset < 0 or length < 0 or offset + length > size:
            raise DataError(f"{where}: lies at bytes {offset} to {offset + length} of {path.name}, which has {size}")
        require(2 * length, f"{where} in {path.name}", WAY_OUT)
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        self.digest.update(data)
        whole = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, name=tensor.name)
        whole.raw_data = data
        return whole

    def _inside(self, location: str, where: str) -> Path:
        """Return the path of a file in the folder; refuse all others before anything is opened."""
        if self.folder is None:
            raise DataError(f"{where}: lies in another file, {shown(location)}; give the path of the model, not its bytes")
        outside = f"{where}: lies in {shown(location)}, outside the folder of the model; nothing is read from there"
        if not location or "\0" in location or Path(location).is_absolute() or ".." in Path(location).parts:
            raise DataError(outside)
        folder = self.folder.resolve()
        try:
            path = (folder / location).resolve()
        except (OSError, RuntimeError):  # a circle of links
            raise DataError(outside) from None
        if not path.is_relative_to(folder):
            raise DataError(outside)
        if not path.is_file() or not os.access(path, os.R_OK):
            raise MissingFileError(f"{where}: lies in {shown(location)}, which is no file that can be read; put it there")
        return path


def one_line(where: str, call: Callable[[], Any]) -> Any:
    """Return what a call of onnx returns; what it raises becomes a line."""
    try:
        return call()
    except MemoryError:
        raise
    except Exception as error:  # onnx, protobuf and NumPy raise nearly anything on what is malformed
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{where}: {reason[0][:200]}") from error


def shown(name: str) -> str:
    """Return a name of a file's in quotes, on one line, not too long."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
