"""Caches compiled kernels on disk: one file for each kernel and signature, in a folder named by a hash of the sources.

Numba's own cache is not used: it does not notice an edit in another file than the kernel's, ends the run on a file that is cut
off or a folder that cannot be written, and may swap the kernels of processes that fill it at the same time (its index numbers
the files). Here a file's name says all that decides what is in it, and a checksum says that it is whole.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numba.core.config
import numpy as np
import platformdirs
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from sparsednn.backend import shared_memory

_CONFIG: Any = numba.core.config
_LOG = logging.getLogger(__name__)
OUR_SOURCES = Path(__file__).parents[1]
SHARED_LAYOUT = Path(shared_memory.__file__)
"""Constants that are compiled into kernels, outside of our sources."""

CODE_SETTINGS = (
    "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "ENABLE_AVX", "USING_SVML", "DEBUGINFO_DEFAULT",
    "ENABLE_PROFILING",
)  # fmt: skip
"""Numba's settings, beside the processor and its features, that change the code of a kernel."""

NO_HOME = Path("/nonexistent")
CHECKSUM_BYTES = 32
ABANDONED_S = 3600
"""Age of a temporary file whose writer must be dead; one that lives all the same finds it gone and keeps nothing."""


def sources_of(file: Path) -> dict[str, Path]:
    """Return what may be compiled into a kernel of this file, by name: this package, its own, and the shared constants."""
    package = file
    while (package.parent / "__init__.py").exists():
        package = package.parent
    found = {root: _modules_in(root) if root.is_dir() else [root] for root in {OUR_SOURCES, SHARED_LAYOUT, package}}
    return {str(path.relative_to(root.parent)): path for root, paths in found.items() for path in paths}


def _modules_in(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if name.endswith(".py"))


def _digest(file: Path) -> str:
    """Return a hash of all sources; those that no file's time and size says were edited are read once for all kernels."""
    stats = ((name, path, path.stat()) for name, path in sorted(sources_of(file).items()))
    return _digest_of(tuple((name, path, stat.st_mtime_ns, stat.st_size) for name, path, stat in stats))


@functools.lru_cache(maxsize=4)
def _digest_of(sources: tuple[tuple[str, Path, int, int], ...]) -> str:
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.implementation.cache_tag)
    digest = hashlib.sha256(repr(versions).encode())
    for name, path, _, _ in sources:
        digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@functools.cache
def _digest_at_start(file: Path) -> str:
    """The digest when the first kernel of a file was imported: what is edited later is not what this process runs."""
    return _digest(file)


def cache_folder() -> Path:
    """Return where kernels are cached: NUMBA_CACHE_DIR, or the user's cache folder; the folders in it are named by sources."""
    if _CONFIG.CACHE_DIR:
        return Path(_CONFIG.CACHE_DIR).absolute() / "sparsednn"
    folder = Path(platformdirs.user_cache_dir("sparsednn")) / "kernels"
    return NO_HOME / folder if folder.parts[0] == "~" else folder  # as it stays for a user whom the system does not know


class KernelCache:
    """The compiled signatures of one kernel; takes the place of Numba's cache in a dispatcher, and has that one's methods.

    Nothing that happens to files ends a run: a kernel that cannot be read is compiled, one that cannot be written is compiled
    again by the next process, and a warning says so once.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        code = function.__code__
        self._file = Path(code.co_filename).absolute()
        self._known = self._file.is_file()  # nothing tells when a function that was typed at a prompt changes
        self._sources = _digest_at_start(self._file) if self._known else ""
        self._name = f"{self._file.stem}.{function.__qualname__.replace('<locals>.', '')}-{code.co_firstlineno}"
        cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
        self._about = [hashlib.sha256(part).hexdigest() for part in (code.co_code, dumps(cells))]
        self._damaged: dict[Path, str] = {}

    @property
    def cache_path(self) -> str:
        """The folder of this kernel's files."""
        return str(cache_folder() / self._sources)

    def flush(self) -> None:
        """Forget what is cached."""
        for path in Path(self.cache_path).glob(f"{self._name}.*.nbc"):
            with suppress(OSError):
                path.unlink()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return a compiled kernel, or None if it is not there or cannot be used."""
        target_context.refresh()
        if not self._known:
            return None
        path = self._path(signature, target_context.codegen())
        try:
            raw = path.read_bytes()
            checksum, payload = raw[:CHECKSUM_BYTES], raw[CHECKSUM_BYTES:]
            if hashlib.sha256(payload).digest() != checksum:
                raise ValueError("not whole")
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        except FileNotFoundError:
            return None
        except Exception as error:  # unpickling raises nearly anything
            self._damaged[path] = _reason(error)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a compiled kernel, unless it has addresses of this process in it or the sources were edited meanwhile."""
        if not self._known or compiled.library.has_dynamic_globals or self._edited():
            return
        path = self._path(signature, compiled.codegen)
        payload = dumps(compiled._reduce())
        try:
            _write(path, hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            _warn_once(
                f"{path.parent}: compiled kernels cannot be kept ({_reason(error)}) and will be compiled again in every run; "
                "delete that folder, make room, or set NUMBA_CACHE_DIR to a folder that can be written"
            )
            return
        if path in self._damaged:
            _warn_once(
                f"{path}: is no compiled kernel that can be used ({self._damaged[path]}) and was made anew; "
                f"if this comes again, delete {path.parent}"
            )

    def _edited(self) -> bool:
        try:
            return _digest(self._file) != self._sources
        except OSError:  # on its way to another revision
            return True

    def _path(self, signature: Any, codegen: Any) -> Path:
        settings = [(name, getattr(_CONFIG, name, None)) for name in CODE_SETTINGS]
        about = repr((str(signature), codegen.magic_tuple(), settings, self._about))
        return Path(self.cache_path) / f"{self._name}.{hashlib.sha256(about.encode()).hexdigest()[:16]}.nbc"


def _write(path: Path, content: bytes) -> None:
    """Put a file in its place whole, whoever else writes it at the same time; remove what killed processes have left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob("*.tmp"):
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > ABANDONED_S:
                other.unlink()
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


_said: list[str] = []


def _warn_once(text: str) -> None:
    """Warn of the first trouble of a process: the others will be of the same kind, one for each kernel."""
    if not _said:
        _said.append(text)
        _LOG.warning("%s", text)
