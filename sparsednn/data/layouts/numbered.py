"""Finds the numbered files of layers, and names the one that is missing, or that nobody asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sparsednn.data.lookup import find_one
from sparsednn.errors import DataError, MissingFileError


def numbered_files(
    folder: Path, stems: Sequence[str], suffixes: Sequence[str], first: int, layers: int | None, way_out: str = ""
) -> list[Path]:  # fmt: skip
    """Return the file of each layer.

    Parameters
    ----------
    folder : Path
    stems : sequence of str
        What the name of a layer's file may be before its ending, with a place for the number: ``weights{}``.
    suffixes : sequence of str
        Endings.
    first : int
        Number of the first layer.
    layers : int, or None
        How many layers there must be. None: all up to the first that is not there.
    way_out : str
        What is said of a file that is missing.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing, there are two for one layer, or there are others behind the last.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder")
    there, found = _numbers(folder, stems, suffixes), list[Path]()
    if not there:
        find_one([folder], stems[0].format(first), suffixes)
    for number in range(first, first + (len(there) if layers is None else layers)):
        files = there.pop(number, [])
        if not files:
            behind = f"though {there[min(there)][0].name} is there" if there else f"only layers={len(found)} before it"
            raise MissingFileError(
                f"{folder}: no file {' or '.join(stem.format(number) for stem in stems)} with one of the endings "
                f"{', '.join(suffixes)}, {behind}{way_out}"
            )
        if len(files) > 1:
            both = " and ".join(map(str, files))
            raise DataError(f"{both} are both there, and either could be meant; leave one of them in its place")
        found += files
    if there:
        extra, n = there[min(there)][0], min(there) - first + 1
        raise DataError(
            f"{extra}: is there beside layers={len(found)}; take it away, or say layers={n} if it is the file of one of them"
        )
    return found


def refuse_deeper(folder: Path, stems: Sequence[str], suffixes: Sequence[str], last: int) -> None:
    """Refuse to write a network where files of layers behind its last one are: readers would take them for its own.

    Raises
    ------
    ValueError
    """
    there = _numbers(folder, stems, suffixes) if folder.is_dir() else {}
    if there and max(there) > last:
        raise DataError(f"{there[max(there)][0]}: is there already, of a network with more layers; take another folder")


def _numbers(folder: Path, stems: Sequence[str], suffixes: Sequence[str]) -> dict[int, list[Path]]:
    """Return the files that have such a name, by number."""
    endings = "|".join(re.escape(suffix) for suffix in suffixes)
    pattern = re.compile("|".join(f"{re.escape(stem).replace(re.escape('{}'), '([0-9]{1,9})')}(?:{endings})" for stem in stems))
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if (match := pattern.fullmatch(path.name)) and path.is_file():
            number = next(group for group in match.groups() if group is not None)
            if str(int(number)) == number:
                found.setdefault(int(number), []).append(path)
    return found
