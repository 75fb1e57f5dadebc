"""Finds the earlier complete record of a point for ``resume=true``, by configuration and code revision.

A point that takes such a record gets a note in its folder, ``taken.json``, which leads to it; figures follow these notes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from experiments.records.files import NOTE, RESULT, RUNNING, NotARecordError, read_note, read_record, status_of
from experiments.records.point import COMPLETE, PointOfExperiment, PointRecord, TakenNote
from experiments.run.identity import known_revision
from sparsednn.results.record import SCHEMA_VERSION
from sparsednn.system.files import write_json
from sparsednn.system.json_fields import to_json

OUTPUTS = "outputs"
SAME_CODE = (
    "resume=true: the code has uncommitted changes, or no git revision, so no record is known to be of the same code: "
    "every point is run"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A complete record of this code, as far as it is needed to choose one: where and when it was written, for which point."""

    path: Path
    written_s: float
    point: tuple[Any, ...] | None


class Earlier:
    """The complete records of this code below some folders, as they were when this was made.

    Parameters
    ----------
    roots : list of Path
        Folders; those that are not there have no records.
    say : callable
        Is told in one line of each record that cannot be read, and of code that no record can be of.
    """

    def __init__(self, roots: list[Path], say: Callable[[str], None]) -> None:
        self.revision = known_revision()
        self._by_hash: dict[str, list[Found]] = defaultdict(list)
        if self.revision is None:
            say(SAME_CODE)
            return
        older = 0
        for path in sorted({path.resolve() for root in roots for path in root.rglob(RESULT)}):
            try:
                record = read_record(path)
                older += record.status == COMPLETE and record.schema_version != SCHEMA_VERSION
                self._add(path, record)
            except (NotARecordError, OSError) as error:
                say(f"resume=true: passed over, as it cannot be read as a record: {error}")
        if older:
            say(f"resume=true: {older} complete records are of an older version than {SCHEMA_VERSION}, and are not taken")

    def _add(self, path: Path, record: PointRecord) -> None:
        """Keep a record that can stand for a point: complete, of this version of records and of this code."""
        if record.status != COMPLETE or record.schema_version != SCHEMA_VERSION or record.environment is None:
            return
        if record.environment.git_revision == self.revision and record.config_hash is not None:
            point = point_of(record.experiment)
            self._by_hash[record.config_hash].append(Found(path, path.stat().st_mtime, point))

    def find(
        self, digest: str, folder: Path, reserved: Path, point: tuple[Any, ...] | None, claimed: set[Path]
    ) -> tuple[Path, PointRecord] | None:
        """Return the record that stands for a point, and where it is; None if there is none.

        The one in the point's own `folder` is taken first, then one of the same `point` of an experiment, then the newest.
        Other records below `reserved` belong to other points of this call, which may overwrite them; `claimed` are taken.
        """
        own, reserved = folder.resolve(), reserved.resolve()
        usable = [
            found
            for found in self._by_hash.get(digest, [])
            if found.path not in claimed and (found.path.parent == own or not found.path.is_relative_to(reserved))
        ]
        for found in sorted(usable, key=lambda f: (f.path.parent == own, f.point == point, f.written_s), reverse=True):
            try:
                return found.path, read_record(found.path)
            except NotARecordError:  # it has been there
                continue
        return None


def point_of(experiment: PointOfExperiment | None) -> tuple[Any, ...] | None:
    """Return which point of which experiment a record is of, in whatever run of it; or None."""
    return None if experiment is None else (experiment.name, experiment.toy, experiment.sweep, experiment.point)


def is_complete(path: Path) -> bool:
    """Whether a file is a complete record, be it of this version or not."""
    return status_of(path) == COMPLETE


def leave_note(folder: Path, path: Path, experiment: PointOfExperiment | None) -> None:
    """Write into a point's folder which record stands for it; what a run that failed or died has left there is taken away."""
    note = TakenNote(record=os.path.relpath(path, folder.resolve()), experiment=experiment)
    write_json(folder / NOTE, to_json(note))
    (folder / RUNNING).unlink(missing_ok=True)
    own = folder / RESULT
    if own.resolve() != path.resolve() and own.exists() and not is_complete(own):
        own.unlink()


def leads_to_own(folder: Path) -> bool:
    """Whether a point's folder has a note that says of which experiment the record in the same folder is."""
    try:
        return read_note(folder / NOTE).record == RESULT
    except NotARecordError:
        return False


def roots(folder: Path) -> list[Path]:
    """Return the folders to look for records in: ``outputs``, and where Hydra's output folders lie, of which one is `folder`.

    Of an output folder below the current one that is its top folder; of another one, what is fixed in hydra.run.dir or
    hydra.sweep.dir, before any time or number.
    """
    here = Path.cwd()
    if folder.is_relative_to(here) and folder != here:
        top = here / folder.relative_to(here).parts[0]
    else:
        fixed = _pattern().partition("${")[0]
        whole = fixed == _pattern() or fixed.endswith("/")
        top = Path(fixed) if whole else Path(fixed).parent
        top = top if folder.is_relative_to(top) and top != Path(top.anchor) else folder
    return [here / OUTPUTS, top]


def reserved_folder(folder: Path) -> Path:
    """Return the folder whose records belong to the points of this call: the sweep's, or the run's own."""
    return folder.parent if HydraConfig.get().mode == RunMode.MULTIRUN else folder


def _pattern() -> str:
    """Return hydra.run.dir or hydra.sweep.dir as it was given, with what Hydra fills in left open."""
    hydra = HydraConfig.get()
    owner = hydra.sweep if hydra.mode == RunMode.MULTIRUN else hydra.run
    given: Any = OmegaConf.to_container(owner, resolve=False)
    return str(given["dir"])
