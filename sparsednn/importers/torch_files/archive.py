"""Reads a saved program of PyTorch: a graph in JSON, and tensors as plain bytes."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError, SparseDnnError
from sparsednn.importers.onnx_graph.tensors import WAY_OUT, shown
from sparsednn.system.memory import require

SCHEMA = 8
"""The major version of the graph's JSON that is read; PyTorch has written it since 2.6."""

DTYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f2", 7: "<f4", 8: "<f8", 12: "?", 13: "<u2"}
"""By PyTorch's numbers of the types of tensors."""

BFLOAT16, STRIDED = 13, 7
EXPORT = (
    "save the program with PyTorch 2.9 or later, as torch.export.save(torch.export.export(module.eval(), (example,)), "
    "'FILE.pt2'), or export the module to ONNX"
)


class ProgramArchive:
    """One file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    name : str
        Of the file, for messages.
    graph, signature : dict
        Parts of the program, as the JSON has them.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If there is no such file, or it is no program of a version that is known.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        if not path.is_file():
            raise MissingFileError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
        try:
            self._zip = zipfile.ZipFile(path)
            self._members = {name.partition("/")[2]: name for name in self._zip.namelist()}
        # RuntimeError: of a version or, below, of a compression that zipfile does not know, or of a member that is encrypted
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
            raise DataError(f"{self.name}: no program of torch.export, which are .pt2 files: {error}") from error
        models = [name for name in self._members if name.startswith("models/") and name.endswith(".json")]
        if len(models) != 1:
            kind = "a pickle, which could run any program" if "data.pkl" in self._members else f"{len(models)} programs"
            raise DataError(f"{self.name}: holds {kind}; {EXPORT}")
        program = self._json(models[0])
        version = program.get("schema_version", {}).get("major")
        if version != SCHEMA:
            raise DataError(f"{self.name}: has version {version!r} of the format, {SCHEMA} is known; {EXPORT}")
        module = program["graph_module"]
        self.graph: dict[str, Any] = module["graph"]
        self.signature: dict[str, Any] = module["signature"]
        stem = models[0].removeprefix("models/").removesuffix(".json")
        self._tensors = {
            folder: self._json(f"data/{folder}/{stem}_{folder}_config.json")["config"] for folder in ("weights", "constants")
        }

    def tensor(self, folder: str, name: str) -> NDArray[Any]:
        """Return a tensor of "weights" or "constants".

        Raises
        ------
        ValueError, MemoryError
            If it is pickled, of a type that is not known, or what is stored is not of its shape.
        """
        where, entry = f"{self.name}: tensor {shown(name)}", self._tensors[folder].get(name)
        if not isinstance(entry, Mapping):
            raise DataError(f"{where}: is not in the file")
        meta = entry["tensor_meta"]
        if entry["use_pickle"] is not False or meta["layout"] != STRIDED or meta["dtype"] not in DTYPES:
            raise DataError(f"{where}: is pickled, sparse or of an unknown type; make it a plain tensor before the export")
        sizes, strides = ([_whole(one) for one in meta[key]] for key in ("sizes", "strides"))
        offset, dtype = _whole(meta["storage_offset"]), np.dtype(DTYPES[meta["dtype"]])
        raw = self._bytes(f"data/{folder}/{entry['path_name']}")
        stored = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
        array = _viewed(where, stored, sizes, strides, offset)
        if meta["dtype"] == BFLOAT16:
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array

    def _json(self, member: str) -> dict[str, Any]:
        try:
            found = json.loads(self._bytes(member))
        except (ValueError, RecursionError) as error:
            if isinstance(error, SparseDnnError):
                raise
            raise DataError(f"{self.name}: {member} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{self.name}: {member} is no mapping")
        return found

    def _bytes(self, member: str) -> bytes:
        if member not in self._members:
            raise DataError(f"{self.name}: has no {shown(member)}; {EXPORT}")
        inside = self._members[member]
        require(2 * self._zip.getinfo(inside).file_size, f"{self.name}: {member}", WAY_OUT)
        try:
            return self._zip.read(inside)
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError) as error:
            raise DataError(f"{self.name}: {member} cannot be read: {error}") from error


def _whole(value: Any) -> int:
    """Return a size as the JSON has it; a symbolic one is refused."""
    number = value.get("as_int") if isinstance(value, Mapping) else value
    if type(number) is not int or number < 0:
        raise DataError(f"{str(value)[:60]} is no size of a tensor")
    return number


def _viewed(where: str, stored: NDArray[Any], sizes: list[int], strides: list[int], offset: int) -> NDArray[Any]:
    """Return a tensor as it lies in what is stored, copied; nothing outside of that is looked at."""
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if math.prod(sizes) and last >= len(stored):
        raise DataError(f"{where}: says that it has the shape {sizes}, but holds {len(stored)} numbers")
    if not math.prod(sizes):
        return np.zeros(sizes, stored.dtype)
    require(2 * math.prod(sizes) * stored.itemsize, f"{where} of the shape {sizes}", WAY_OUT)  # strides may be 0
    steps = [stride * stored.itemsize for stride in strides]
    return np.array(np.lib.stride_tricks.as_strided(stored[offset:], sizes, steps, writeable=False))
