"""Keeps Matplotlib importable: removes MPLBACKEND where it names a backend that is not installed."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import entry_points
from pathlib import Path

VARIABLE = "MPLBACKEND"
_MODULE = "module://"


def leave_out_unknown() -> None:
    """Remove MPLBACKEND if it names a backend that is not installed: Matplotlib could not even be imported.

    A notebook sets it for all that is started from it, also in other environments.
    """
    name = os.environ.get(VARIABLE)
    if name and not _is_known(name):
        del os.environ[VARIABLE]


def _is_known(name: str) -> bool:
    if name.startswith(_MODULE):
        return _is_there(name.removeprefix(_MODULE))
    return name in entry_points(group="matplotlib.backend").names or _is_of_matplotlib(f"backend_{name.lower()}.py")


def _is_of_matplotlib(file: str) -> bool:
    """Whether Matplotlib has a file for a backend, found without importing it."""
    found = importlib.util.find_spec("matplotlib")
    folders = (found.submodule_search_locations or []) if found is not None else []
    return any((Path(folder) / "backends" / file).is_file() for folder in folders)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a package that is not there, or no name of a module
        return False
