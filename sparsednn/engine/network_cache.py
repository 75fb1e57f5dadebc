"""Keeps packed networks of earlier runs in the cache folder, up to a size; those that were not used for longest go first."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sparsednn.backend import KernelOptions, StoringBackend
from sparsednn.engine.prepared import PreparedNetwork, RestoredNetwork
from sparsednn.engine.saved import HEADER, PLAN, VERSION, SavedNetwork, header_of, packed_network, require_layouts_of, write
from sparsednn.errors import SparseDnnError
from sparsednn.system.cache import CACHE_VARIABLE
from sparsednn.system.temporary import remove_abandoned, temporary_folder

PREFIX, REMOVED = "network-", ".removed-"
_LOG = logging.getLogger(__name__)


class NetworkCache:
    """The packed networks in a folder. Nothing that happens to its files ends a run.

    Each is a folder that comes and goes whole (it is renamed), so any number of processes may take, put and remove them.

    Parameters
    ----------
    folder : Path
    limit_bytes : int
        Of all networks.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes

    def take(self, key: str, backend: StoringBackend) -> RestoredNetwork | None:
        """Return a network with all its checksums compared; None: it is not there or, with a warning, was not usable."""
        path = self.folder / f"{PREFIX}{key}"
        remove_abandoned(self.folder, REMOVED)
        if not path.is_dir():
            return None
        try:
            saved = SavedNetwork(path)
            require_layouts_of(saved, backend)
            saved.check()
        except (SparseDnnError, OSError) as error:
            if path.is_dir():  # else another process has just removed it
                _LOG.warning("%s; it is made anew", error)
                self._remove(path)
            return None
        with suppress(OSError):
            os.utime(path / HEADER)
        return packed_network(saved)

    def put(self, key: str, prepared: PreparedNetwork) -> int | None:
        """Keep a network that is packed; return its bytes, or None if it is not kept: too large, or, with a warning, failed."""
        backend, path = prepared.asked.backend, self.folder / f"{PREFIX}{key}"
        assert isinstance(backend, StoringBackend)
        layout = backend.store_plan(prepared.plan)
        n_bytes = sum(array.nbytes for array in layout.arrays.values())
        if path.exists() or not self._makes_room(n_bytes):
            return None
        try:
            write(path, {PLAN: layout}, header_of(prepared))
        except SparseDnnError as error:
            if not path.is_dir():  # else another process was faster
                _LOG.warning("%s (environment variable %s); the next run packs the network again", error, CACHE_VARIABLE)
                return None
        return n_bytes

    def _makes_room(self, n_bytes: int) -> bool:
        """Remove what was not used for longest until there is room."""
        entries = sorted(self._entries(), reverse=True)
        total = sum(size for _, size, _ in entries)
        while entries and total + n_bytes > self.limit_bytes and n_bytes <= self.limit_bytes:
            _, size, path = entries.pop()
            self._remove(path)
            total -= size
        return total + n_bytes <= self.limit_bytes

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Return when each network was last used, its bytes, and its folder."""
        found = []
        with suppress(OSError):
            for path in self.folder.glob(f"{PREFIX}*"):
                with suppress(OSError):  # it may go meanwhile
                    size = sum(file.stat().st_size for file in path.iterdir())
                    found.append(((path / HEADER).stat().st_mtime, size, path))
        return found

    def _remove(self, path: Path) -> None:
        """Take a network away whole: who has it open may go on reading."""
        with suppress(OSError), temporary_folder(self.folder, REMOVED) as folder:
            path.replace(folder / path.name)


def key_of(network: Mapping[str, Any], backend: StoringBackend, options: KernelOptions) -> str:
    """Return a digest of all that decides what is packed, as 32 hexadecimal digits.

    Parameters
    ----------
    network : mapping
        Identity of the network: all that its connections follow from, ready for JSON.
    backend : StoringBackend
    options : KernelOptions
    """
    decides = {
        "network": network,
        "options": {name: getattr(options, name) for name in backend.layout_options},
        "backend": backend.name,
        "versions": [VERSION, backend.layout_version, np.__version__, sys.byteorder],  # NumPy's sorting is its own
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]
