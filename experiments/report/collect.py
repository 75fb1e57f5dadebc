"""Finds the newest run of each experiment among records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experiments import figures
from experiments.config.resolve import ConfigError
from experiments.records.files import Say, read_each
from experiments.records.read import Points, read_points


@dataclass(frozen=True, slots=True)
class NewestRun:
    """The newest run of an experiment: its folder, its points, and how many other runs of it there are."""

    name: str
    figure: str
    folder: Path
    points: Points
    n_others: int


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder of an experiment's points."""

    path: Path
    figure: str
    written_s: float


def newest_runs(folders: Iterable[Path], toy: bool, say: Say = lambda line: None) -> tuple[dict[str, NewestRun], list[str]]:
    """Return the newest run of each experiment below `folders`, by name, and what cannot be used, in one line each.

    Parameters
    ----------
    folders : paths
    toy : bool
        Take runs at toy size, which are passed over otherwise.
    say : callable
        Is told in one line each file that is no record, and which experiments at toy size are passed over.

    Raises
    ------
    ConfigError, OSError
        If there are no records, or a folder or file cannot be read.
    """
    found: dict[str, dict[Path, _Folder]] = defaultdict(dict)
    toys = set()
    for folder, record in read_each(folders, say):
        about = record.experiment
        if about is None or about.toy != toy:
            toys |= {about.name} if about is not None and about.toy else set()
            continue
        run = folder.parent
        written_s = max(path.lstat().st_mtime for path in folder.iterdir())
        known = found[about.name].get(run)
        latest_s = max(written_s, known.written_s) if known else written_s
        found[about.name][run] = _Folder(run, about.figure, latest_s)
    if toys:
        names = ", ".join(sorted(toys))
        say(f"left out: records at toy size, which are no measurements (experiment.toy=true takes them): {names}")
    runs, unusable = {}, []
    for name, members in sorted(found.items()):
        newest = max(members.values(), key=lambda member: member.written_s)
        try:
            figures.require(newest.figure, f"{newest.path}: figure")
            points = read_points(newest.figure, [newest.path])
        except ConfigError as error:
            unusable.append(str(error))
            continue
        runs[name] = NewestRun(name, newest.figure, newest.path, points, len(members) - 1)
    if not runs:
        shown = ", ".join(str(folder) for folder in folders)
        size = "at toy size" if toy else "at full size (experiment.toy=true takes those at toy size)"
        detail = f": {unusable[0]}" if unusable else "; run one with: python run.py experiment=NAME"
        raise ConfigError(f"{shown}: no records of an experiment {size}{detail}")
    return runs, unusable
