"""Finds committed records by name, and reads each once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from experiments.config.resolve import ConfigError
from experiments.records.read import Points, check_same_categories
from experiments.report.results.kept import Kept, KeptExperiment, ProgramRecord, points_of_kept, read_kept

SUFFIX = ".json"


class MissingRecordError(ConfigError):
    """A table needs a record that is not committed; the message says how to make it."""


class CommittedRecords:
    """The committed records of a folder, by name.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read = cache(self._read)
        self.points = cache(self._points)

    def names(self) -> list[str]:
        """Return the names of all records that there are."""
        return sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}"))

    def path(self, name: str) -> Path:
        """Return the path of a record, be it there or not."""
        return self.folder / f"{name}{SUFFIX}"

    def all(self) -> dict[str, Kept]:
        """Return all records by name."""
        return {name: self.read(name) for name in self.names()}

    def _read(self, name: str) -> Kept:
        if not self.path(name).is_file():
            how = f"run python run.py experiment={name}, then python -m experiments.report keep outputs"
            raise MissingRecordError(f"{self.path(name)}: not there; of an experiment, {how}")
        return read_kept(self.path(name))

    def experiment(self, name: str) -> KeptExperiment:
        """Return the record of an experiment.

        Raises
        ------
        MissingRecordError
        ConfigError
            If the file is not one.
        """
        kept = self.read(name)
        if not isinstance(kept, KeptExperiment):
            raise ConfigError(f"{self.path(name)}: not a record of an experiment")
        return kept

    def program(self, name: str) -> ProgramRecord:
        """Return the record of another program; raises as `experiment` does."""
        kept = self.read(name)
        if not isinstance(kept, ProgramRecord):
            raise ConfigError(f"{self.path(name)}: not a record of another program")
        return kept

    def program_if_there(self, name: str) -> ProgramRecord | None:
        """Return the record of another program, or None if none is committed."""
        return self.program(name) if self.path(name).is_file() else None

    def _points(self, name: str) -> Points:
        """Return the points of an experiment's record, with the same categories where there have to be."""
        points = points_of_kept(self.experiment(name))
        if points.same_categories:
            check_same_categories(points)
        return points
