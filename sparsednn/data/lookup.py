"""Finds the one file of a name in several formats, and refuses where two could be meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sparsednn.errors import DataError, MissingFileError


def files_of(folders: Sequence[Path], stem: str, suffixes: Iterable[str]) -> list[Path]:
    """Return the files of that stem in some folders, with one of the endings; one that is found under two names is one."""
    names = [folder / f"{stem}{suffix}" for folder in folders for suffix in suffixes]
    return list({path.resolve(): path for path in names if path.is_file()}.values())


def find_one(folders: Sequence[Path], stem: str, suffixes: Sequence[str]) -> Path:
    """Return the file of that stem, whatever its format; of two, neither is known to be the right one.

    Raises
    ------
    FileNotFoundError, ValueError
        If the first folder, or such a file, is not there, or there are two.
    """
    if not folders[0].is_dir():
        raise MissingFileError(f"{folders[0]}: no such folder")
    files = files_of(folders, stem, suffixes)
    if not files:
        raise MissingFileError(f"{folders[0]}: no file {stem} with one of the endings {', '.join(suffixes)}")
    if len(files) > 1:
        raise DataError(
            f"{' and '.join(map(str, files))} are both there, and either could be meant; leave one of them in its place"
        )
    return files[0]


def refuse_other_formats(folders: Sequence[Path], stems: Iterable[str], suffixes: Sequence[str], suffix: str) -> None:
    """Refuse to write files beside those of another format, so that readers could not tell which is meant.

    Raises
    ------
    ValueError
        Naming the first that is there.
    """
    others = [other for other in suffixes if other != suffix]
    for stem in stems:
        for path in files_of(folders, stem, others):
            raise DataError(f"{path}: is there already, and nobody could tell it from {stem}{suffix}; take another folder")
