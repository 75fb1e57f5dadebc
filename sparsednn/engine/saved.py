"""Keeps packed networks in folders: a header, and a file of arrays for each layout, which are mapped when they are loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sparsednn.backend import DirectSize, StoredLayout, StoringBackend
from sparsednn.comm import LocalCommunicator
from sparsednn.engine.layouts import DirectLayout
from sparsednn.engine.prepared import PreparedNetwork, RestoredNetwork
from sparsednn.engine.request import Request
from sparsednn.errors import MissingFileError, OptionError, StorageError
from sparsednn.execution.options import GROUPS, InferOptions
from sparsednn.network import Challenge, NetworkOutline
from sparsednn.schedulers import counts_work
from sparsednn.system.array_files import MappedArrays, write_arrays
from sparsednn.system.temporary import temporary_folder

HEADER = "header.json"
KIND, VERSION = "sparsednn compiled network", 1
"""First words of a header, and version of headers and files of arrays; layouts have a version of their own."""

UNFINISHED = ".saving-"
MODEL_SUFFIX = ".safetensors"
OUTLINE, PLAN, DIRECT = "outline", "plan", "direct"
AGAIN = "compile the network and save it again"
DIGEST_DIGITS = 32


def save(path: Path, prepared: PreparedNetwork, direct: DirectLayout | None) -> None:
    """Write a network's packed layers into a folder, whole or not at all; see `sparsednn.CompiledNetwork.save`."""
    _require_free(path)
    backend, layouts = _require_savable(prepared), dict[str, StoredLayout]()
    network = None if direct is None else direct.packed()
    if direct is not None and network is not None:
        values = {**direct.size._asdict(), "drops": direct.drops}
        stored = backend.store_direct(network)
        layouts[DIRECT] = stored._replace(values={**stored.values, **{f"size.{name}": v for name, v in values.items()}})
    prepared.pack()
    layouts[PLAN] = backend.store_plan(prepared.plan)
    write(path, layouts, header_of(prepared))


def header_of(prepared: PreparedNetwork) -> dict[str, Any]:
    """Return what a header says of a network of a `StoringBackend`, and of what was asked for."""
    asked = prepared.asked
    return {
        "layout_version": asked.backend.layout_version,  # type: ignore[attr-defined]
        "backend": asked.backend.name,
        "kernel": asked.kernel.kernel,
        "scheduler": asked.scheduler,
        "options": {name: asdict(getattr(asked.options, name)) for name in GROUPS},
        "n_inputs": prepared.outline.n_inputs,
        "challenge": prepared.outline.challenge,
        "rounded": prepared.rounded,
        OUTLINE: prepared.outline,
    }


def write(path: Path, layouts: Mapping[str, StoredLayout], header: Mapping[str, Any]) -> None:
    """Write layouts, the outline among them, and a header into a new folder, whole or not at all."""
    outline: NetworkOutline = header[OUTLINE]
    layouts = {OUTLINE: _outline_arrays(outline), **layouts}
    needed = sum(array.nbytes for stored in layouts.values() for array in stored.arrays.values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if needed > (free := shutil.disk_usage(path.parent).free):
            raise StorageError(f"{path}: the packed network takes {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free")
        with temporary_folder(path.parent, UNFINISHED) as temporary:
            complete = temporary / "complete"
            complete.mkdir()
            tables = {
                name: {"arrays": write_arrays(complete / f"{name}.bin", stored.arrays, stored.starts), "values": stored.values}
                for name, stored in layouts.items()
            }
            said = {**header, OUTLINE: None, "layouts": tables, "byte_order": sys.byteorder, "made_by": _provenance()}
            text = json.dumps(said)
            whole = {"format": KIND, "version": VERSION, "sha256": _digest(text), "content": text}
            (complete / HEADER).write_text(json.dumps(whole) + "\n")
            _publish(complete, path, temporary / "replaced")
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        reason = error.strerror or error
        raise StorageError(f"{path}: the network cannot be saved ({reason}); make room, or save elsewhere") from error


class SavedNetwork:
    """A folder that `write` has written, with a sound header and files of the right sizes; no layer has been read.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    header : dict
    outline : NetworkOutline
    n_bytes : int
        Of all files of arrays.

    Raises
    ------
    FileNotFoundError, OSError
        If it is no such folder, or damaged, or of another version or machine; the message has the way out.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.header = path, _header(path)
        self._files: dict[str, MappedArrays] = {}
        for name, table in self.header["layouts"].items():
            try:
                self._files[name] = MappedArrays(path / f"{name}.bin", table["arrays"])
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                raise StorageError(f"{path / f'{name}.bin'}: is cut or missing ({reason}); {AGAIN}") from error
        self._checked: set[str] = set()
        self.n_bytes = sum(file.n_bytes for file in self._files.values())
        challenge = self.header["challenge"]
        ends = self._files[OUTLINE].arrays
        self.outline = NetworkOutline(
            n_inputs=self.header["n_inputs"],
            ends=tuple(
                ends["ends"][start : start + length] for start, length in zip(ends["start"], ends["length"], strict=True)
            ),
            challenge=None if challenge is None else Challenge(*challenge),
        )

    def has(self, name: str) -> bool:
        """Whether there is a layout of that name."""
        return name in self._files

    def n_bytes_of(self, name: str) -> int:
        """Return the bytes of a layout."""
        return self._files[name].n_bytes

    def layout(self, name: str) -> StoredLayout:
        """Return a layout, all of which is read and checked the first time, and the outline too.

        Raises
        ------
        OSError
            If a layer is not as it was written.
        """
        self.check(OUTLINE, name)
        return StoredLayout(self._files[name].arrays, {}, self.header["layouts"][name]["values"])

    def check(self, *names: str) -> None:
        """Read layouts, all unless named, and compare their checksums, as far as that is not done."""
        for name in names or self._files:
            if name in self._checked:
                continue
            damage = self._files[name].damage()
            if damage is not None:
                raise StorageError(f"{self.path / f'{name}.bin'}: {damage} is damaged (its checksum differs); {AGAIN}")
            self._checked.add(name)

    def options(self) -> InferOptions:
        """Return the options that the network was compiled with."""
        try:
            return InferOptions(**{name: made(**self.header["options"][name]) for name, made in GROUPS.items()})  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{self.path}: has options that this version does not know ({error}); {AGAIN}") from error

    def direct_size(self) -> tuple[DirectSize, bool]:
        """Return the size of the layout for direct calls, and whether other kernels may do with much less work."""
        values = self.header["layouts"][DIRECT]["values"]
        size = {name: values[f"size.{name}"] for name in DirectSize._fields if f"size.{name}" in values}
        return DirectSize(**size), values["size.drops"]


def _header(path: Path) -> dict[str, Any]:
    """Return the header of a folder, or say what is in its place."""
    if path.is_file() and path.suffix == MODEL_SUFFIX:
        raise OptionError(f"{path}: is a model in one file; sparsednn.load_model reads it, sparsednn.load a folder of save()")
    if path.is_file():
        raise OptionError(f"{path}: is a file; give the folder that CompiledNetwork.save has written")
    if not path.is_dir():
        raise MissingFileError(f"{path}: no such folder; CompiledNetwork.save writes one")
    if not (path / HEADER).is_file():
        raise StorageError(f"{path}: has no {HEADER}, so no compiled network was saved there; give the folder of save()")
    try:
        whole = json.loads((path / HEADER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path / HEADER}: cannot be read ({error}); {AGAIN}") from error
    if not isinstance(whole, dict) or whole.get("format") != KIND:
        raise StorageError(f"{path / HEADER}: is not of a compiled network; give the folder of CompiledNetwork.save")
    if whole.get("version") != VERSION:
        raise StorageError(f"{path}: has version {whole.get('version')} of the format, not {VERSION}; {AGAIN}")
    text = whole.get("content")
    if not isinstance(text, str) or _digest(text) != whole.get("sha256"):
        raise StorageError(f"{path / HEADER}: is damaged (its checksum differs); {AGAIN}")
    header: dict[str, Any] = json.loads(text)
    if header["byte_order"] != sys.byteorder:
        raise StorageError(
            f"{path}: was saved with byte order {header['byte_order']}, and this machine has {sys.byteorder}; {AGAIN} here"
        )
    return header


def require_layouts_of(saved: SavedNetwork, backend: Any) -> StoringBackend:
    """Return a backend, or refuse one that has other layouts than those in a folder."""
    if not isinstance(backend, StoringBackend):
        raise StorageError(f"{saved.path}: is of backend={backend.name}, which has no packed networks in files here; {AGAIN}")
    found = saved.header["layout_version"]
    if found != backend.layout_version:
        raise StorageError(f"{saved.path}: has layout version {found}, and this package {backend.layout_version}; {AGAIN}")
    return backend


def packed_network(saved: SavedNetwork) -> RestoredNetwork:
    """Return a network whose plan is made of a folder's files."""

    def restore(asked: Request) -> Any:
        backend = require_layouts_of(saved, asked.backend)
        return backend.restore_plan(saved.layout(PLAN), asked.kernel, asked.n_workers)

    return RestoredNetwork(saved.outline, saved.n_bytes_of(PLAN), restore, saved.header.get("rounded", False))


def _require_free(path: Path) -> None:
    """Refuse to write over anything else than a compiled network."""
    if path.suffix == MODEL_SUFFIX:
        raise OptionError(f"{path}: is the name of a model in one file, which Model.save writes; give a folder")
    if path.is_dir() and (not any(path.iterdir()) or _is_ours(path)):
        return
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path}: has something else in it; give a new folder")


def _is_ours(path: Path) -> bool:
    try:
        whole = json.loads((path / HEADER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(whole, dict) and whole.get("format") == KIND


def _require_savable(prepared: PreparedNetwork) -> StoringBackend:
    """Refuse by name what files cannot hold."""
    asked, options = prepared.asked, prepared.asked.options
    if not isinstance(asked.backend, StoringBackend):
        raise OptionError(f"save: backend={asked.backend.name} keeps its networks to itself; use backend=numba")
    refused = {
        f"{options.communicator.size} processes": not isinstance(options.communicator, LocalCommunicator),
        f"scheduler={asked.scheduler}": isinstance(asked.scheduler, str) and counts_work(asked.scheduler),
        "a scheduler object": not isinstance(asked.scheduler, str),
        f"hashing={options.partition.hashing}": options.hashes_neurons,
        f"rebalance_after={options.run.rebalance_after}": options.run.rebalance_after is not None,
        f"residency={options.network.residency}": options.network.residency != "memory",
        "progress": options.progress is not None,
        "row_ids": options.row_ids is not None,
    }
    for name, is_there in refused.items():
        if is_there:
            raise OptionError(f"save: a network that was compiled with {name} cannot be saved; compile it without")
    return asked.backend


def _outline_arrays(outline: NetworkOutline) -> StoredLayout:
    """Return an outline's arrays, those that layers share once."""
    different = {id(ends): ends for ends in outline.ends}
    starts = dict(zip(different, np.cumsum([0, *(len(ends) for ends in different.values())])[:-1], strict=True))
    start = np.array([starts[id(ends)] for ends in outline.ends], np.int64)
    length = np.array([len(ends) for ends in outline.ends], np.int64)
    joined = np.concatenate(list(different.values()))
    return StoredLayout({"ends": joined, "start": start, "length": length}, {"ends": start}, {})


def _publish(complete: Path, path: Path, replaced: Path) -> None:
    """Give a folder its name; one that has that name goes away."""
    if path.exists() and any(path.iterdir()):
        path.replace(replaced)
    complete.replace(path)


def _provenance() -> dict[str, str]:
    return {name: version(name) for name in ("sparsednn", "numpy", "numba")} | {"python": sys.version.split()[0]}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]
