"""Names, writes and reads the files of records, also those that other programs write under these names.

All records are written by `write_record` and read by `read_record`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from experiments.config.resolve import ConfigError
from experiments.records.point import (
    COMPLETE,
    FAILED,
    BenchmarkRun,
    PointRecord,
    TakenNote,
    record_from_json,
    record_to_json,
    record_undeclared,
)
from sparsednn.results.record import READABLE_VERSIONS, SCHEMA_VERSION
from sparsednn.system.files import write_json
from sparsednn.system.json_fields import FieldError, from_json

RESULT, RUNNING, NOTE = "result.json", "running.json", "taken.json"
"""The record of a point; the mark of one that is under way; the note that leads to the record that stands for one."""

TRACE, GANTT = "trace.json", "gantt.png"
"""The workers' timeline and its chart, where a run was traced."""

PREDICTIONS = "predictions.csv"
"""The class of each instance, with output.predictions=true."""

Say = Callable[[str], None]
TOY_NOTE = "note: records at toy size say that everything works, and nothing about speed; they are no measurements"

NEEDED = (
    "neurons", "layers", "instances", "network_nnz", "input_nnz", "executor", "backend", "kernel", "scheduler", "processes",
    "threads", "categories_count", "categories_sha256", "seconds",
)  # fmt: skip
"""Fields that a complete record of an inference has, of whatever version."""


class NotARecordError(ConfigError):
    """A file has the name of a record but holds no record; the message names it and says why."""


def name_of(record: PointRecord | TakenNote) -> str:
    """Return how figures call the point of an experiment's record."""
    return "" if record.experiment is None else f"{record.experiment.sweep} / {record.experiment.point}"


def write_record(folder: Path, record: PointRecord) -> None:
    """Write a point's record into its folder.

    Raises
    ------
    OSError
        If the folder cannot be written.
    TypeError
        If the record has a field that is not declared.
    """
    unknown = record_undeclared(record)
    if unknown:
        raise TypeError(f"a record with fields that are not declared: {', '.join(unknown)}")
    write_json(folder / RESULT, record_to_json(record))


def files_below(folder: Path, *names: str) -> list[Path]:
    """Return the files of these names below a folder, sorted.

    Raises
    ------
    ConfigError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    return sorted(path for name in names for path in folder.rglob(name))


def read_all(folders: Iterable[Path], leave_out: Say) -> list[tuple[Path, PointRecord]]:
    """Return every record below `folders`, of experiments or not, each once, with the folder that it is in.

    `leave_out` is told each file that is no record, in one line.

    Raises
    ------
    ConfigError
        If there is no record, or no such folder.
    """
    folders, left_out = list(folders), list[str]()

    def say(line: str) -> None:
        left_out.append(line)
        leave_out(line)

    found = list(read_each(folders, say))
    if not found:
        shown = ", ".join(str(folder) for folder in folders)
        raise ConfigError(f"{shown}: no {RESULT}" + (f" that is a record: {len(left_out)} left out" if left_out else ""))
    return found


def read_each(folders: Iterable[Path], leave_out: Say) -> Iterator[tuple[Path, PointRecord]]:
    """Yield what `read_all` returns; nothing where there is no record."""
    seen = set()
    for folder in folders:
        for path in files_below(folder, RESULT, RUNNING):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            try:
                yield read_point(path)
            except NotARecordError as error:
                leave_out(f"left out: {error}")


def read_point(path: Path) -> tuple[Path, PointRecord]:
    """Return a record and where it is: of a run, of one that is under way, or the one that a note leads to.

    Raises
    ------
    NotARecordError
    ConfigError
        If the record that a note leads to is gone.
    """
    if path.name != NOTE:
        return path.parent, read_record(path)
    note = read_note(path)
    if note.experiment is None:
        return path.parent, PointRecord()
    path = Path(os.path.normpath(path.parent / note.record))
    if (path.parent / RUNNING).exists():
        path = path.parent / RUNNING
    if not path.exists():
        raise ConfigError(f"{path}: is gone, and was to stand for {name_of(note)}; run the experiment with resume=true")
    record = read_record(path)
    record.experiment = note.experiment
    return path.parent, record


def read_note(path: Path) -> TakenNote:
    """Return a note, checked.

    Raises
    ------
    NotARecordError
    """
    try:
        return from_json(TakenNote, _mapping(path))
    except FieldError as error:
        raise NotARecordError(f"{path}: not a note of sparsednn: {error}") from error


def read_record(path: Path) -> PointRecord:
    """Return the record that a file holds, or that of a point that is under way, with the types of its fields checked.

    Records of an older version may lack fields that came later.

    Raises
    ------
    NotARecordError
        Naming the file and the field.
    """
    values = _mapping(path)
    try:
        record = _checked(values, path.name == RUNNING)
    except FieldError as error:
        raise NotARecordError(f"{path}: not a record of sparsednn: {error}") from error
    if path.name == RUNNING:
        record.status, record.error = FAILED, f"it runs yet or died without a word, as it has no {RESULT}"
    return record


def status_of(path: Path) -> str | None:
    """Return the status that a file says, whatever else it holds; None if it says none."""
    try:
        status = _mapping(path).get("status")
    except NotARecordError:
        return None
    return status if isinstance(status, str) else None


def _mapping(path: Path) -> dict[str, Any]:
    """Return what is in a file of JSON, which must be a mapping."""
    try:
        if not path.is_file():
            raise NotARecordError(f"{path}: not a file")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, NotARecordError):
            raise
        raise NotARecordError(f"{path}: not a whole record: {error}") from error
    except OSError as error:
        raise NotARecordError(f"{path}: not to be read: {error.strerror or error}") from error
    if not isinstance(values, dict):
        raise NotARecordError(f"{path}: not a record, which is a mapping of names to values")
    return values


def _checked(values: dict[str, Any], running: bool) -> PointRecord:
    """Return the record that a mapping is.

    Raises
    ------
    FieldError
        If it is no record of ours.
    """
    version = values.get("schema_version", READABLE_VERSIONS[0])
    if version not in READABLE_VERSIONS:
        raise FieldError(f"schema_version is {version!r:.40}, not {' or '.join(map(str, READABLE_VERSIONS))}")
    if "status" not in values and not running:
        raise FieldError("it has no status")
    record = record_from_json(values, whole=version == SCHEMA_VERSION and not running)
    if record.status == COMPLETE:
        _require_whole(record)
    return record


def _require_whole(record: PointRecord) -> None:
    """Refuse a complete record that lacks what every version has."""
    if record.environment is None:
        raise FieldError("it has no environment")
    if isinstance(record.body, BenchmarkRun) or (record.body is None and record.experiment is not None):
        return  # a benchmark has figures of its own in place of an inference's
    for name in NEEDED:
        if not hasattr(record.body, name):
            raise FieldError(f"it has no {name}")
    if not record.run.seconds.inference:
        raise FieldError("seconds.inference is no list of times")
