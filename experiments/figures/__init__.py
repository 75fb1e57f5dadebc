"""Owns the figures of experiments, one module each: they read records and never run anything.

A module has ``draw(points)``, which takes `experiments.records.read.Points` and returns a
`experiments.figures.base.drawing.Drawing`. Its name is what the ``figure`` of an experiment says.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.records.files import TOY_NOTE, Say
from experiments.records.read import check_same_categories, read_points
from sparsednn.errors import unknown
from sparsednn.system.files import atomic_path


def names() -> list[str]:
    """Return the names of all figures."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not (module.ispkg or module.name.startswith("_")))


def require(name: str, option: str = "figure") -> None:
    """Raise ConfigError for a name that no figure has."""
    if name not in names():
        raise ConfigError(unknown(option, name, names()))


def redraw(name: str, folders: Iterable[Path], into: Path, say: Say = lambda line: None) -> tuple[list[Path], RenderableType]:
    """Draw a figure from the records below `folders`.

    Parameters
    ----------
    name : str
        One of `names`.
    folders : paths
        Records of several runs of the experiment are taken together.
    into : Path
        A folder, which gets NAME.png, NAME.pdf, NAME.csv (what is drawn) and NAME.sources.json (a list of the records).
    say : callable
        Is told in one line each file that is left out, and that the records are of toy size.

    Returns
    -------
    paths : list of Path
    table : rich.table.Table, or several with text

    Raises
    ------
    ConfigError
        If there is no such figure, the records do not make one, or they should have found the same categories and did not.
    OSError
        If a file cannot be read or written.
    """
    require(name)
    points = read_points(name, folders, lambda line: say(f"warning: {line}"))
    if points.toy:
        say(TOY_NOTE)
    if points.same_categories:
        check_same_categories(points)
    with style.styled():
        drawing: Drawing = importlib.import_module(f"{__name__}.{name}").draw(points)
        paths = style.save(drawing.figure, into / name)
    data, sources = into / f"{name}.csv", into / f"{name}.sources.json"
    _write_text(data, drawing.data.to_csv(index=False))
    _write_text(sources, _json(points.sources))
    return [*paths, data, sources], drawing.table


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
