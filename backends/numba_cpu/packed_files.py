"""Packed layers in files: made once, and mapped into memory from then on.

A folder holds a network as one kernel wants it: a file for each array that grows with the layers, and ``meta.npz`` with all the
rest, among it a CRC-32 of what each layer has in each file. Every network, and every way of packing it, has a folder of its own
that stays there until somebody deletes it: nobody else knows what will be needed again.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.numba_cpu.packing import Connections, Neurons, StoreMaker
from backends.numba_cpu.stores import FileStore, Store, mapped
from sparsednn.network import Network, RepeatedLayer

FORMAT = 1
FILES = {"order": "neurons", "ids": "connections", "weights": "connections", "column": "connections", "indptr": "connections"}
"""The arrays that are in files of their own, and which tuple they belong to."""

KEEP_FREE_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Packed:
    """A network packed for one kernel.

    Attributes
    ----------
    neurons, connections : NamedTuple
    n_connections : int64 array, shape (n_layers,)
    stands_for : list of int32 arrays, or None
        For each layer, how many of the network's outputs each one stands for; None: for itself.
    """

    neurons: Neurons
    connections: Connections
    n_connections: NDArray[np.int64]
    stands_for: list[NDArray[np.int32]] | None


@dataclass(frozen=True, slots=True)
class Segments:
    """What the layers have in one file.

    Attributes
    ----------
    name : str
    array : memmap, or an empty array
    at, length : int64 arrays, shape (n_layers,)
        In entries; at -1 where a layer has nothing in the file.
    checksums : uint32 array, shape (n_layers,)
    """

    name: str
    array: NDArray[Any]
    at: NDArray[np.int64]
    length: NDArray[np.int64]
    checksums: NDArray[np.uint32]

    def entries(self, layer: int) -> NDArray[Any]:
        """Return what a layer has."""
        return self.array[self.at[layer] : self.at[layer] + self.length[layer]] if self.at[layer] >= 0 else self.array[:0]


def packed_files(
    network: Network, about: str, folder: Path, pack: Callable[[StoreMaker], Packed]
) -> tuple[Packed, list[Segments], Path]:
    """Return a network packed in files, which are made if they are not there.

    Parameters
    ----------
    network : Network
    about : str
        All that `pack` does differently for other kernels or options.
    folder : Path
        Where the folders of packed networks are.
    pack : callable
        Packs the network, with stores that it is given a maker of.

    Raises
    ------
    OSError
        If there is too little space, or a file cannot be written; nothing half-written is left behind.
    """
    path = folder / f"layers-{_fingerprint(network, about)}"
    if _meta(path) is None:
        _make(
            path, pack, sum(layer.columns.size if isinstance(layer, RepeatedLayer) else layer.nnz for layer in network.layers)
        )
    meta = _meta(path)
    if meta is None:
        raise OSError(f"{path}: the packed layers are not what was just written; choose another folder with SPARSEDNN_CACHE")
    return (*_load(path, meta), path)


def _make(path: Path, pack: Callable[[StoreMaker], Packed], n_connections: int) -> None:
    """Pack into a folder beside, and give it its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if 8 * n_connections + KEEP_FREE_BYTES > free:
        raise OSError(
            f"{path.parent}: packing {n_connections:,} connections may take {8 * n_connections / 1e9:.1f} GB, but only "
            f"{free / 1e9:.1f} GB are free; choose another folder with the environment variable SPARSEDNN_CACHE"
        )
    temporary = Path(tempfile.mkdtemp(prefix=".layers-", dir=path.parent))
    stores: dict[str, FileStore] = {}

    def store(name: str, dtype: Any) -> Store:
        stores[name] = FileStore(dtype, temporary / f"{name}.bin")
        return stores[name]

    try:
        packed = pack(store)
        _save_rest(temporary / "meta.npz", packed, stores)
        if _meta(path) is None:  # unless another process was faster
            shutil.rmtree(path, ignore_errors=True)  # one that is not complete
            temporary.replace(path)
    except OSError as error:
        raise OSError(
            f"{path.parent}: packed layers cannot be written ({error.strerror or error}); "
            f"choose another folder with the environment variable SPARSEDNN_CACHE"
        ) from error
    finally:
        for opened in stores.values():
            with suppress(OSError):  # what is not written yet does not fit either
                opened.close()
        shutil.rmtree(temporary, ignore_errors=True)


def _save_rest(path: Path, packed: Packed, stores: Mapping[str, Store]) -> None:
    rest: dict[str, Any] = {"n_connections": packed.n_connections}
    for kind, values in (("neurons", packed.neurons), ("connections", packed.connections)):
        rest |= {f"{kind}.{name}": value for name, value in values._asdict().items() if FILES.get(name) != kind}
    if packed.stands_for is not None:
        rest["stands_for"] = np.concatenate(packed.stands_for)
        rest["stands_for_lengths"] = np.array([len(part) for part in packed.stands_for])
    for name, kind in FILES.items():
        array = getattr(packed.neurons if kind == "neurons" else packed.connections, name)
        at, length = stores[name].offsets(), stores[name].lengths()
        segments = Segments(name, array, at, length, np.zeros(len(at), np.uint32))
        checksums = [zlib.crc32(np.ascontiguousarray(segments.entries(layer)).data) for layer in range(len(at))]
        rest |= {f"{name}.at": at, f"{name}.length": length, f"{name}.checksums": np.array(checksums, np.uint32)}
        rest |= {f"{name}.dtype": np.array(array.dtype.str), f"{name}.size": np.array(array.size)}
    np.savez(path, **rest)


def _meta(path: Path) -> dict[str, NDArray[Any]] | None:
    """What ``meta.npz`` of a folder has; None unless it is sound and all files have the sizes they should have."""
    try:
        with np.load(path / "meta.npz", allow_pickle=False) as stored:
            meta = {name: stored[name] for name in stored.files}
        for name in FILES:
            expected = int(meta[f"{name}.size"]) * np.dtype(str(meta[f"{name}.dtype"])).itemsize
            if (path / f"{name}.bin").stat().st_size != expected:
                return None
    except Exception:  # NumPy and zipfile raise nearly anything on a damaged file
        return None
    return meta


def _load(path: Path, rest: Mapping[str, NDArray[Any]]) -> tuple[Packed, list[Segments]]:
    arrays = {name: mapped(path / f"{name}.bin", str(rest[f"{name}.dtype"])) for name in FILES}
    tuples: dict[str, Any] = {}
    for kind, made_of in (("neurons", Neurons), ("connections", Connections)):
        values: dict[str, Any] = {name: rest[f"{kind}.{name}"] for name in made_of._fields if FILES.get(name) != kind}
        values |= {name: np.asarray(arrays[name]) for name in made_of._fields if FILES.get(name) == kind}
        tuples[kind] = made_of(**values)
    tuples["neurons"] = tuples["neurons"]._replace(bias_always=bool(tuples["neurons"].bias_always))
    stands_for = None
    if "stands_for" in rest:
        stands_for = np.split(rest["stands_for"], np.cumsum(rest["stands_for_lengths"])[:-1])
    segments = [
        Segments(name, arrays[name], *(rest[f"{name}.{part}"] for part in ("at", "length", "checksums"))) for name in FILES
    ]
    return Packed(tuples["neurons"], tuples["connections"], rest["n_connections"], stands_for), segments


def _fingerprint(network: Network, about: str) -> str:
    """A SHA-256 of all that decides what is packed, as 32 hexadecimal digits."""
    digest = hashlib.sha256(f"{FORMAT} {about} {network.bias_on} {np.__version__}".encode())
    for layer in network.layers:
        digest.update(f"{layer.n_inputs} {layer.n_outputs} {layer.activation}".encode())
        if isinstance(layer, RepeatedLayer):
            digest.update(f"{layer.weight!r} {layer.constant_bias!r} {layer.columns.shape}".encode())
            arrays: tuple[NDArray[Any], ...] = (layer.columns, layer.column)
        else:
            arrays = (layer.indptr, layer.indices, layer.values, layer.bias)
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]
