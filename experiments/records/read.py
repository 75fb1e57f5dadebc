"""Reads the records of experiments from their folders; figures and tables use nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from experiments.config.resolve import ConfigError
from experiments.records.files import NOTE, RESULT, RUNNING, NotARecordError, Say, files_below, name_of, read_point
from experiments.records.job import JOB
from experiments.records.point import COMPLETE, SUBMITTED, PointRecord, about_of, record_to_json
from sparsednn.backend import FORMER_KERNELS
from sparsednn.errors import unknown
from sparsednn.results.record import SIMULATED, RunRecord
from sparsednn.results.simulated_record import SimulatedRun, TrafficEstimate
from sparsednn.results.trace import Trace
from sparsednn.system.json_fields import named

SAME_JOB = named(RunRecord, *JOB, "executor", "processes", "threads")
"""Fields in which records of the same point must agree."""


COLUMNS = named(
    RunRecord, "backend", "kernel", "scheduler", "processes", "threads", "categories_count", "categories_sha256"
)  # fmt: skip
"""Fields of records that tables have as they are."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of an experiment, and all complete records of it: of one run of the experiment, or of several.

    Attributes
    ----------
    sweep, label : str
        The sweep that it belongs to, and its name there.
    records : tuple of PointRecord
        At least one; they agree in `SAME_JOB`.
    folders : tuple of Path
        Where each was read.
    trace : Trace or None
        The workers' timeline, where it is not to be read from the first folder.
    """

    sweep: str
    label: str
    records: tuple[PointRecord, ...]
    folders: tuple[Path, ...]
    trace: Trace | None = None

    @property
    def record(self) -> PointRecord:
        """The first record."""
        return self.records[0]

    @property
    def run(self) -> RunRecord:
        """The first record of an inference."""
        return self.records[0].run

    @property
    def runs(self) -> list[RunRecord]:
        """All records of an inference."""
        return [record.run for record in self.records]

    @property
    def times_s(self) -> list[float]:
        """Inference seconds of all repeats."""
        return [float(time) for run in self.runs for time in run.seconds.inference]

    @property
    def median_s(self) -> float:
        """Median of the inference seconds."""
        return median(self.times_s)

    @property
    def traffic(self) -> TrafficEstimate | None:
        """The estimate of traffic from memory, if it is simulated and has one."""
        return self.run.traffic if isinstance(self.run, SimulatedRun) else None

    @property
    def simulated(self) -> bool:
        """Whether its times are virtual."""
        return self.record.executed.executor == SIMULATED


@dataclass(frozen=True, slots=True)
class Points:
    """The input of a figure, read from folders: an experiment's points in the order in which they were run, and what failed."""

    name: str
    toy: bool
    points: tuple[Point, ...]
    failed: tuple[str, ...]

    def of(self, sweep: str) -> list[Point]:
        """Return the points of a sweep."""
        return [point for point in self.points if point.sweep == sweep]

    @property
    def records(self) -> list[PointRecord]:
        """All complete records."""
        return [record for point in self.points for record in point.records]

    @property
    def same_categories(self) -> bool:
        """Whether the experiment says that all its points must find the same categories."""
        return any(about_of(record).same_categories for record in self.records)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """All complete records as they are written, each with the folder that it came from."""
        pairs = [pair for point in self.points for pair in zip(point.folders, point.records, strict=True)]
        return [{"folder": str(folder), "record": record_to_json(record)} for folder, record in pairs]


def read_points(figure: str, folders: Iterable[Path], leave_out: Say = lambda line: None) -> Points:
    """Read all records below `folders` that were made for a figure; `leave_out` is told each file that is none, in one line.

    Raises
    ------
    ConfigError
        If there are none, or some that do not belong together.
    """
    folders, left_out = [Path(folder) for folder in folders], list[str]()

    def say(line: str) -> None:
        left_out.append(line)
        leave_out(line)

    found, others = _read(figure, folders, say)
    shown = ", ".join(str(folder) for folder in folders)
    complete = [(folder, record) for folder, record in found if record.status == COMPLETE]
    if not found:
        hint = f" {unknown('figure', figure, sorted(others))}" if others else ""
        less = f" {'; '.join(left_out[:3])}" if left_out else ""
        raise ConfigError(f"{shown}: no {RESULT} of an experiment with figure {figure}.{hint}{less}")
    found = [(folder, record) for folder, record in found if record.status != SUBMITTED]
    if not found:
        raise ConfigError(f"{shown}: all points are submitted, and none has been run yet; there is nothing to draw")
    if not complete:
        raise ConfigError(f"{shown}: all {len(found)} points failed; there is nothing to draw")
    kinds = {(about.name, about.toy) for about in (about_of(record) for _, record in found)}
    if len(kinds) > 1:
        names = ", ".join(f"{name}{' at toy size' if toy else ''}" for name, toy in sorted(kinds))
        raise ConfigError(f"{shown}: records of several experiments ({names}); give folders of one of them")
    [(name, toy)] = kinds
    failed = [f"{name_of(record)} ({folder}): {record.error}" for folder, record in found if record.status != COMPLETE]
    return Points(name, toy, tuple(_grouped(complete)), tuple(failed))


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
        for run in point.runs:
            found = f"{run.categories_count:,} categories ({run.categories_sha256[:12]})"
            by_digest[found].append(f"{point.sweep} / {point.label}")
    if len(by_digest) > 1:
        parts = "; ".join(f"{found} at {', '.join(dict.fromkeys(names))}" for found, names in by_digest.items())
        raise ConfigError(f"experiment {points.name}: its points must find the same categories, and do not: {parts}")


def _read(figure: str, folders: Sequence[Path], say: Say) -> tuple[list[tuple[Path, PointRecord]], set[str]]:
    """Return the records made for a figure, by experiment folder and number, and the names of other figures."""
    found, others = [], set()
    for path in (path for folder in folders for path in files_below(folder, RESULT, RUNNING, NOTE)):
        try:
            where, record = read_point(path)
        except NotARecordError as error:
            say(f"left out: {error}")
            continue
        if record.experiment is None:
            continue
        if record.experiment.figure == figure:
            found.append((path.parent.parent, where, record))
        elif record.experiment.figure:
            others.add(record.experiment.figure)
    unique = {(where.resolve(), name_of(record)): (run, where, record) for run, where, record in found}
    in_order = sorted(unique.values(), key=lambda item: (str(item[0]), about_of(item[2]).number))
    return [(where, record) for _, where, record in in_order], others


def _grouped(found: Iterable[tuple[Path, PointRecord]]) -> list[Point]:
    """Join the records of the same point."""
    groups: dict[tuple[str, str], list[tuple[Path, PointRecord]]] = defaultdict(list)
    for folder, record in found:
        about = about_of(record)
        groups[about.sweep, about.point].append((folder, record))
    points = []
    for (sweep, label), members in groups.items():
        (first_folder, first), *rest = members
        for folder, record in rest:
            for key in SAME_JOB:
                # benchmarks have only some of them
                one, other = (_field(one, key) for one in (first, record))
                if one != other:
                    raise ConfigError(
                        f"{first_folder} and {folder}: the same point ({sweep} / {label}) with {key}={one} and "
                        f"{key}={other}; give folders of the same job"
                    )
        points.append(Point(sweep, label, tuple(record for _, record in members), tuple(folder for folder, _ in members)))
    return points


def _field(record: PointRecord, name: str) -> Any:
    """Return a field of an outcome, if it has it; of a kernel that has been renamed, its present name."""
    value = getattr(record.body, name, None)
    return FORMER_KERNELS.get(str(value), value) if name == "kernel" else value


def _row(point: Point) -> dict[str, Any]:
    run, times_s = point.run, point.times_s
    return {
        "sweep": point.sweep,
        "point": point.label,
        "toy": about_of(point.record).toy,
        "simulated": point.simulated,
        "n_times": len(times_s),
        "seconds_median": point.median_s,
        "seconds_min": min(times_s),
        "seconds_max": max(times_s),
        "performed_edges": run.performed_edges,
        "neurons": run.neurons,
        "layers": run.layers,
        "instances": run.instances,
        "connections": run.network_nnz,
        **{name: getattr(run, name) for name in COLUMNS},
    }
