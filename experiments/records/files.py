"""Files with records: which there are below folders, and whether a file is one; programs of others write files so named too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.config.resolve import ConfigError
from experiments.launch.resume import NOTE
from experiments.run.measure import RESULT, RUNNING
from sparsednn.results.record import READABLE_VERSIONS, SCHEMA_VERSION

Record = dict[str, Any]
Say = Callable[[str], None]
NUMBER = (int, float)
TOY_NOTE = "note: records at toy size say that everything works, and nothing about speed; they are no measurements"

ALWAYS = {
    "status": str,
    "error": str,
    "experiment": dict,
    "environment": dict,
    "config": dict,
    "truth": dict,
    "optimizations": dict,
}
"""Kinds of what a record may have, whatever came of it; entries that are not there, or null, pass."""

ABOUT = {"name": str, "figure": str, "toy": bool, "sweep": str, "point": str, "number": int}
"""What a record says of its experiment."""

INFERENCE = {
    "neurons": int, "layers": int, "instances": int, "network_nnz": int, "input_nnz": int, "executor": str, "backend": str,
    "kernel": str, "scheduler": str, "processes": int, "threads": int, "categories_count": int, "categories_sha256": str,
    "environment": dict, "seconds": dict,
}  # fmt: skip
"""What a complete record of an inference has."""


class NotARecordError(ConfigError):
    """A file that has the name of a record and is none; the message names it and says why."""


def name_of(record: Mapping[str, Any]) -> str:
    """Return how figures call the point of an experiment's record."""
    return f"{record['experiment']['sweep']} / {record['experiment']['point']}"


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


def read_all(folders: Iterable[Path], leave_out: Say) -> list[tuple[Path, Record]]:
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


def read_each(folders: Iterable[Path], leave_out: Say) -> Iterator[tuple[Path, Record]]:
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


def read_point(path: Path) -> tuple[Path, Record]:
    """Return a record and where it is: of a run, of one that is under way, or the one that a note leads to.

    Raises
    ------
    NotARecordError
    ConfigError
        If the record that a note leads to is gone.
    """
    record = read_record(path)
    if path.name == NOTE:
        if "experiment" not in record:
            return path.parent, {}
        note, path = record, Path(os.path.normpath(path.parent / str(record["record"])))
        if (path.parent / RUNNING).exists():
            path = path.parent / RUNNING
        if not path.exists():
            raise ConfigError(f"{path}: is gone, and was to stand for {name_of(note)}; run the experiment with resume=true")
        record = read_record(path) | {key: value for key, value in note.items() if key != "record"}
    if path.name == RUNNING:
        record |= {"status": "failed", "error": f"it runs yet or died without a word, as it has no {RESULT}"}
    return path.parent, record


def read_record(path: Path) -> Record:
    """Return what a file holds, as far as figures and tables rely on it, checked.

    Raises
    ------
    NotARecordError
    """
    try:
        if not path.is_file():
            raise NotARecordError(f"{path}: not a file")
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, NotARecordError):
            raise
        raise NotARecordError(f"{path}: not a whole record: {error}") from error
    except OSError as error:
        raise NotARecordError(f"{path}: not to be read: {error.strerror or error}") from error
    if not isinstance(record, dict):
        raise NotARecordError(f"{path}: not a record, which is a mapping of names to values")
    why = _foreign(record, path.name)
    if why is not None:
        raise NotARecordError(f"{path}: not a record of sparsednn: {why}")
    return record


def _foreign(record: Record, name: str) -> str | None:
    """Say why a mapping is no record, note or mark of ours."""
    version = record.get("schema_version", SCHEMA_VERSION)
    if version not in READABLE_VERSIONS:
        return f"schema_version is {version!r:.40}, not {' or '.join(map(str, READABLE_VERSIONS))}"
    why = _of_other_kind({key: value for key, value in record.items() if value is not None}, ALWAYS, needed=False)
    if why is None and record.get("experiment") is not None:
        why = _of_other_kind(record["experiment"], ABOUT)
    if why is not None or name == RUNNING:
        return why
    if name == NOTE:
        return _of_other_kind(record, {"record": str})
    return _of_other_kind(record, {"status": str}) or (_incomplete(record) if record["status"] == "complete" else None)


def _incomplete(record: Record) -> str | None:
    """Say what a complete record lacks; that of a benchmark has figures of its own in place of an inference's."""
    if "seconds" not in record and record.get("experiment") is not None:
        return _of_other_kind(record, {"environment": dict})
    why = _of_other_kind(record, INFERENCE)
    if why is not None:
        return why
    times = record["seconds"].get("inference")
    if isinstance(times, list) and times and all(isinstance(time, NUMBER) for time in times):
        return _of_other_kind(record["seconds"], {"inference_median": NUMBER}, needed=False)
    return "seconds.inference is no list of times"


def _of_other_kind(values: Mapping[str, Any], kinds: Mapping[str, Any], needed: bool = True) -> str | None:
    for key, kind in kinds.items():
        if key not in values:
            if needed:
                return f"it has no {key}"
        elif not isinstance(values[key], kind):
            return f"{key} is {json.dumps(values[key])[:40]}"
    return None
