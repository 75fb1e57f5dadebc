"""Imports the packages that lie beside this one, also where other folders have packages of the same name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from sparsednn.errors import MissingPackageError

HOME = Path(__file__).resolve().parents[2]
"""The folder of this package and its siblings: a clone, or where pip has installed them."""


def claim(name: str) -> None:
    """Let ``import name`` give the package beside this one, also where a folder before it on `sys.path` has that name.

    Without such a package beside this one nothing changes.

    Raises
    ------
    ImportError
        If another module has been imported under this name already; it names both files.
    """
    ours, imported = HOME / name / "__init__.py", sys.modules.get(name)
    if not ours.is_file():
        return
    if imported is None:
        _import(name, ours)
    elif not _is(imported.__file__, ours):
        theirs = imported.__file__ or next(iter(imported.__path__), "a folder without a file")
        raise MissingPackageError(
            f"the module {name} that is imported already ({theirs}) has the name of a package of sparsednn ({ours}); rename it"
        )


def _is(file: str | None, ours: Path) -> bool:
    return file is not None and Path(file).resolve() == ours.resolve()


def _import(name: str, file: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
