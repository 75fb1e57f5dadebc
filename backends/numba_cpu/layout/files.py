"""Keeps packed layers in files: writes them once, and maps them into memory from then on.

A folder holds a network as one kernel wants it: a file for each array that grows with the layers, and ``meta.npz`` with all the
rest, among it a CRC-32 of what each layer has in each file. Every network, and every way of packing it, has a folder of its own
that stays there until somebody deletes it: nobody else knows what will be needed again.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.numba_cpu.layout.neurons import Neurons
from backends.numba_cpu.layout.packing import Connections
from backends.numba_cpu.layout.stores import FileStore, Store, StoreMaker, mapped
from sparsednn.errors import StorageError
from sparsednn.network import Network
from sparsednn.system.temporary import remove_abandoned, temporary_folder

FORMAT = 4
FILES = {
    "order": "neurons", "ids": "connections", "weights": "connections", "column": "connections", "indptr": "connections",
    "offset": "connections",
}  # fmt: skip
"""The arrays that are in files of their own, and which tuple they belong to."""

META = "meta.npz"
UNFINISHED = ".layers-"
KEEP_FREE_BYTES = 2**28
WAY_OUT = (
    "keep them in memory (residency=memory), or choose another folder with the environment variable "
    "SPARSEDNN_CACHE or XDG_CACHE_HOME"
)


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
    """The parts of all layers in one file.

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
        """Return the part of a layer."""
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
    remove_abandoned(folder, UNFINISHED)
    if _meta(path) is None:
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _make(path, network, pack)
    meta = _meta(path)
    if meta is None:
        raise StorageError(f"{path}: the packed layers are not what was just written; {WAY_OUT}")
    return (*_load(path, meta), path)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say of an error of the system which folder it is about, and what can be done."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # ours
            raise
        raise StorageError(f"{folder}: packed layers cannot be written ({error.strerror or error}); {WAY_OUT}") from error


def _require_space(folder: Path, network: Network) -> None:
    n_connections = sum(layer.n_stored for layer in network.layers)
    needed, free = 8 * n_connections + KEEP_FREE_BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{folder}: packing {n_connections:,} connections may take {needed / 1e9:.1f} GB with some to spare, but only "
            f"{free / 1e9:.1f} GB are free; {WAY_OUT}"
        )


def _make(path: Path, network: Network, pack: Callable[[StoreMaker], Packed]) -> None:
    """Pack into a folder beside, and give it its name when it is complete."""
    stores: dict[str, FileStore] = {}
    with temporary_folder(path.parent, UNFINISHED) as temporary:
        _require_space(path.parent, network)
        complete = temporary / path.name
        complete.mkdir()

        def store(name: str, dtype: Any) -> Store:
            stores[name] = FileStore(dtype, complete / f"{name}.bin")
            return stores[name]

        try:
            _save_rest(complete / META, pack(store), stores)
        finally:
            for opened in stores.values():
                with suppress(OSError):  # what is not written yet does not fit either
                    opened.close()
        _publish(complete, path)


def _publish(complete: Path, path: Path) -> None:
    """Give a folder its name; if there is one of that name, use that, which has the same files.

    The other is never taken away, since somebody may be about to read it. If it is not whole it is mended file by file, whoever
    else does so at the same time: all put the same bytes there, and at last the file that says that the folder is whole.
    """
    try:
        complete.replace(path)
    except OSError:
        if not path.exists():
            raise
        if _meta(path) is None:
            _mend(complete, path)


def _mend(complete: Path, path: Path) -> None:
    try:
        for name in [*(f"{name}.bin" for name in FILES), META]:
            (complete / name).replace(path / name)
    except (IsADirectoryError, NotADirectoryError) as error:
        raise FileExistsError(errno.EEXIST, f"something else has the name {path}; delete that") from error


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
    """Return the arrays of a folder's ``meta.npz``; None unless it is sound and all files have the sizes they should have."""
    try:
        with np.load(path / META, allow_pickle=False) as stored:
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
    decides = f"{FORMAT} {about} {np.__version__} {network.fingerprint()}"
    return hashlib.sha256(decides.encode()).hexdigest()[:32]
