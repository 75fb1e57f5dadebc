"""Reads and writes files in the user's cache folder, which can be rebuilt at any time and are never trusted blindly."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.system.temporary import remove_abandoned, temporary_folder

CACHE_VARIABLE = "SPARSEDNN_CACHE"
NO_HOME = Path("/nonexistent")
UNFINISHED = ".unfinished-"
_LOG = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder for rebuilt data: the environment variable SPARSEDNN_CACHE, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if not chosen:
        import platformdirs  # runs that cache nothing do without it

        chosen = platformdirs.user_cache_dir("sparsednn")
    folder = Path(chosen)
    return NO_HOME / folder if folder.parts[:1] == ("~",) else folder  # as it stays for a user whom the system does not know


def read_cached(path: Path, name: str, otherwise: str) -> NDArray[Any] | None:
    """Return an array of a cached file; None if it is not there or, with a warning that ends with `otherwise`, not readable."""
    remove_abandoned(path.parent, UNFINISHED)
    try:
        with np.load(path, allow_pickle=False) as stored:
            array: NDArray[Any] = stored[name]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # NumPy and zipfile raise nearly anything on a damaged file
        _LOG.warning("%s: not readable (%s); %s", path, error, otherwise)
        return None
    return array


def write_cached(path: Path, save: Callable[[Path], None], otherwise: str) -> None:
    """Let `save` write a file, and cache it if that goes well; if not, warn with a line that has `otherwise`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path.parent, UNFINISHED) as folder:
            save(folder / path.name)
            (folder / path.name).replace(path)
    except OSError as error:
        _LOG.warning(
            "%s: cannot be written (%s); %s. Make room there, or choose another folder with the environment variable %s",
            path, error.strerror or error, otherwise, CACHE_VARIABLE,
        )  # fmt: skip
