"""Records of experiments, read back from their folders: figures and tables are made of nothing else."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from experiments.measuring import RESULT, RUNNING
from experiments.resume import NOTE
from sparsednn.choices import unknown
from sparsednn.config import ConfigError
from sparsednn.console import run_program

Record = dict[str, Any]
SAME_JOB = ("neurons", "layers", "instances", "network_nnz", "input_nnz", "executor", "processes", "threads")
"""What records of the same point must agree in."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of an experiment, and all complete records of it: of one run of the experiment, or of several.

    Attributes
    ----------
    sweep, label : str
        The sweep that it belongs to, and its name there.
    records : tuple of dict
        At least one; they agree in `SAME_JOB`.
    folders : tuple of Path
        Where each was read.
    """

    sweep: str
    label: str
    records: tuple[Record, ...]
    folders: tuple[Path, ...]

    @property
    def record(self) -> Record:
        """The first record."""
        return self.records[0]

    @property
    def times_s(self) -> list[float]:
        """Inference seconds of all repeats."""
        return [float(time) for record in self.records for time in record["seconds"]["inference"]]

    @property
    def median_s(self) -> float:
        """Median of the inference seconds."""
        return median(self.times_s)

    @property
    def simulated(self) -> bool:
        """Whether its times are virtual."""
        return bool(self.record["executor"] == "simulated")


@dataclass(frozen=True, slots=True)
class Points:
    """What folders have of a figure's experiment: its points in the order in which they were run, and what failed."""

    name: str
    toy: bool
    points: tuple[Point, ...]
    failed: tuple[str, ...]

    def of(self, sweep: str) -> list[Point]:
        """Return the points of a sweep."""
        return [point for point in self.points if point.sweep == sweep]

    @property
    def records(self) -> list[Record]:
        """All complete records."""
        return [record for point in self.points for record in point.records]

    @property
    def same_categories(self) -> bool:
        """Whether the experiment says that all its points must find the same categories."""
        return any(record["experiment"]["same_categories"] for record in self.records)

    @property
    def sources(self) -> list[Record]:
        """All complete records, each with the folder that it came from."""
        pairs = [pair for point in self.points for pair in zip(point.folders, point.records, strict=True)]
        return [{"folder": str(folder), "record": record} for folder, record in pairs]


def read_points(figure: str, folders: Iterable[Path]) -> Points:
    """Read all records below `folders` that were made for a figure.

    Raises
    ------
    ConfigError
        If there are none, or some that do not belong together.
    OSError
        If a folder or file cannot be read.
    """
    folders = [Path(folder) for folder in folders]
    found, others = _read(figure, folders)
    shown = ", ".join(str(folder) for folder in folders)
    complete = [(folder, record) for folder, record in found if record["status"] == "complete"]
    if not found:
        hint = f" {unknown('figure', figure, sorted(others))}" if others else ""
        raise ConfigError(f"{shown}: no {RESULT} of an experiment with figure {figure}.{hint}")
    found = [(folder, record) for folder, record in found if record["status"] != "submitted"]
    if not found:
        raise ConfigError(f"{shown}: all points are submitted, and none has been run yet; there is nothing to draw")
    if not complete:
        raise ConfigError(f"{shown}: all {len(found)} points failed; there is nothing to draw")
    kinds = {(record["experiment"]["name"], record["experiment"]["toy"]) for _, record in found}
    if len(kinds) > 1:
        names = ", ".join(f"{name}{' at toy size' if toy else ''}" for name, toy in sorted(kinds))
        raise ConfigError(f"{shown}: records of several experiments ({names}); give folders of one of them")
    [(name, toy)] = kinds
    failed = [f"{_name(record)} ({folder}): {record['error']}" for folder, record in found if record["status"] != "complete"]
    return Points(name, toy, tuple(_grouped(complete)), tuple(failed))


def read_all(folders: Iterable[Path]) -> list[tuple[Path, Record]]:
    """Return every record below `folders`, of experiments or not, each once, with the folder that it is in.

    Raises
    ------
    ConfigError
        If there are none, or a file is not a whole record.
    OSError
        If a folder or file cannot be read.
    """
    found: dict[Path, tuple[Path, Record]] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
        for path in sorted(path for name in (RESULT, RUNNING) for path in folder.rglob(name)):
            where, record = _read_point(path)
            found.setdefault(path.resolve(), (where, record))
    if not found:
        raise ConfigError(f"{', '.join(str(folder) for folder in folders)}: no {RESULT}")
    return list(found.values())


def frame(points: Iterable[Point]) -> pd.DataFrame:
    """Return points as a table: one row each, with times in seconds over all repeats and the sizes of its job."""
    return pd.DataFrame([_row(point) for point in points])


def check_same_categories(points: Points) -> None:
    """Refuse points that have not found the same categories.

    Raises
    ------
    ConfigError
        Naming the points by what they have found.
    """
    by_digest: dict[str, list[str]] = defaultdict(list)
    for point in points.points:
        for record in point.records:
            found = f"{record['categories_count']:,} categories ({record['categories_sha256'][:12]})"
            by_digest[found].append(f"{point.sweep} / {point.label}")
    if len(by_digest) > 1:
        parts = "; ".join(f"{found} at {', '.join(dict.fromkeys(names))}" for found, names in by_digest.items())
        raise ConfigError(f"experiment {points.name}: its points must find the same categories, and do not: {parts}")


def _read(figure: str, folders: Sequence[Path]) -> tuple[list[tuple[Path, Record]], set[str]]:
    """Return the records made for a figure, by experiment folder and number, and the names of other figures."""
    found, others = [], set()
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
        paths = [path for name in (RESULT, RUNNING, NOTE) for path in folder.rglob(name)]
        for path in sorted(paths):
            where, record = _read_point(path)
            mine = record.get("experiment", {"figure": None})
            if mine["figure"] == figure:
                found.append((path.parent.parent, where, record))
            elif mine["figure"]:
                others.add(mine["figure"])
    unique = {(where.resolve(), _name(record)): (run, where, record) for run, where, record in found}
    in_order = sorted(unique.values(), key=lambda item: (str(item[0]), item[2]["experiment"]["number"]))
    return [(where, record) for _, where, record in in_order], others


def _read_point(path: Path) -> tuple[Path, Record]:
    """Return a record and where it is: of a run, of one that is under way, or the one that a note leads to."""
    record = _read_record(path)
    if path.name == NOTE:
        if "experiment" not in record:
            return path.parent, {}
        note, path = record, Path(os.path.normpath(path.parent / str(record["record"])))
        if (path.parent / RUNNING).exists():
            path = path.parent / RUNNING
        if not path.exists():
            raise ConfigError(f"{path}: is gone, and was to stand for {_name(note)}; run the experiment with resume=true")
        record = _read_record(path) | {key: value for key, value in note.items() if key != "record"}
    if path.name == RUNNING:
        record |= {"status": "failed", "error": f"it runs yet or died without a word, as it has no {RESULT}"}
    return path.parent, record


def _read_record(path: Path) -> Record:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not a whole record: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: not a record, which is a mapping of names to values")
    return record


def _grouped(found: Iterable[tuple[Path, Record]]) -> list[Point]:
    """Join the records of the same point."""
    groups: dict[tuple[str, str], list[tuple[Path, Record]]] = defaultdict(list)
    for folder, record in found:
        groups[record["experiment"]["sweep"], record["experiment"]["point"]].append((folder, record))
    points = []
    for (sweep, label), members in groups.items():
        (first_folder, first), *rest = members
        for folder, record in rest:
            for key in SAME_JOB:
                one, other = first.get(key), record.get(key)  # benchmarks have only some of them
                if one != other:
                    raise ConfigError(
                        f"{first_folder} and {folder}: the same point ({sweep} / {label}) with {key}={one} and "
                        f"{key}={other}; give folders of the same job"
                    )
        points.append(Point(sweep, label, tuple(record for _, record in members), tuple(folder for folder, _ in members)))
    return points


def _row(point: Point) -> dict[str, Any]:
    record, times_s = point.record, point.times_s
    return {
        "sweep": point.sweep,
        "point": point.label,
        "simulated": point.simulated,
        "n_times": len(times_s),
        "seconds_median": point.median_s,
        "seconds_min": min(times_s),
        "seconds_max": max(times_s),
        "performed_edges": record["performed_edges"],
        "neurons": record["neurons"],
        "layers": record["layers"],
        "instances": record["instances"],
        "connections": record["network_nnz"],
        "backend": record["backend"],
        "kernel": record["kernel"],
        "scheduler": record["scheduler"],
        "processes": record["processes"],
        "threads": record["threads"],
        "categories_count": record["categories_count"],
        "categories_sha256": record["categories_sha256"],
    }


def _name(record: Record) -> str:
    return f"{record['experiment']['sweep']} / {record['experiment']['point']}"


if __name__ == "__main__":
    from experiments.compare import main  # which reads with this module

    sys.exit(run_program(main))
