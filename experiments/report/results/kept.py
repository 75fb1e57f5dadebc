"""Declares the committed form of records: one file for each experiment, a few kB each, and one for each other program.

Fields that all points share stand once (`KeptExperiment.common`), workers are averaged, and numbers are rounded. A file
becomes `experiments.records.read.Points` again (`points_of_kept`), so figures, tables and claims take it as they take folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from statistics import median
from typing import Any

from experiments.config.resolve import ConfigError
from experiments.records.point import COMPLETE, PointRecord, record_from_json
from experiments.records.read import Point, Points
from sparsednn.results.record import SIMULATED
from sparsednn.results.trace import KINDS, Span, Trace
from sparsednn.system.json_fields import FieldError, JsonPart, doc, from_json, json_part, to_json

EXPERIMENT, PROGRAM = "experiment", "program"
"""The ``kind`` of a file."""


@json_part
class MeasuringMachine(JsonPart):
    """The machine on which a file's times were measured; it goes by its processor, not by its name."""

    cpu: str = field(metadata=doc("model of the processor"))
    cores: int = field(metadata=doc("cores that processes could run on"))
    memory_bytes: int = field(metadata=doc("memory of the machine", "bytes"))
    caches: dict[str, int] | None = field(metadata=doc("caches by level; null where they are not known", "bytes"))
    system: str = field(metadata=doc("operating system and its release"))
    versions: dict[str, Any] = field(metadata=doc("versions of Python and of packages"))

    @property
    def name(self) -> str:
        """How pages call it."""
        return f"{self.cpu}, {self.cores} cores"


@json_part
class KeptRound(JsonPart):
    """One record of a point, without what it shares with the others: a round of the experiment."""

    number: int = field(metadata=doc("number of the record in the order in which they were run, from 0"))
    run: int | None = field(default=None, metadata=doc("number of the run of the experiment", when="all but the first, 0"))
    seconds: list[float] | None = field(default=None, metadata=doc("inference, one for each repeat", "s", when="inferences"))
    mean_worker: dict[str, float] | None = field(
        default=None, metadata=doc("parts of the workers' time, on average over workers", "s", when="figures of waiting")
    )
    peak_rss_bytes: int | None = field(default=None, metadata=doc("most memory resident", "bytes", when="measured inferences"))
    disturbance: dict[str, Any] | None = field(
        default=None, metadata=doc("what disturbed it on purpose", when="cluster.disturb said so")
    )
    figures: dict[str, Any] | None = field(default=None, metadata=doc("figures of a benchmark", when="benchmarks"))


@json_part
class KeptPoint(JsonPart):
    """A point of an experiment."""

    sweep: str = field(metadata=doc("name of the sweep"))
    label: str = field(metadata=doc("name of the point in its sweep"))
    overrides: list[str] = field(metadata=doc("what makes it, as key=value, as far as neither sweep nor label say so"))
    run: dict[str, Any] = field(metadata=doc("fields of its records that differ from the common ones; null: it has none"))
    spans: list[list[int]] | None = field(
        default=None,
        metadata=doc(
            "what each worker did when: process, worker, number of the kind in KINDS, start and stop (microseconds), row "
            "group, first and last layer; without -1 at the end",
            when="a figure shows the trace",
        ),
    )
    rounds: list[KeptRound] = field(metadata=doc("its records"))


@json_part
class KeptExperiment(JsonPart):
    """The records of an experiment, in the small form that is committed."""

    kind: str = field(default=EXPERIMENT, metadata=doc("experiment"))
    name: str = field(metadata=doc("name of the experiment"))
    figure: str = field(metadata=doc("its figure"))
    toy: bool = field(metadata=doc("whether it is at toy size, and says nothing about speed"))
    same_categories: bool = field(metadata=doc("whether all points must find the same categories"))
    command: str = field(metadata=doc("the command that measured it"))
    revision: str = field(metadata=doc("git revision, with +changes if files differed from it"))
    date: str = field(metadata=doc("day on which its last record was written, in ISO 8601"))
    machine: MeasuringMachine = field(metadata=doc("where it was measured"))
    calibration: dict[str, Any] | None = field(
        default=None, metadata=doc("of the simulator's calibration: its machine, and costs of a connection", when="simulated")
    )
    sweeps: dict[str, list[str]] = field(metadata=doc("what all points of each sweep were given, as key=value"))
    common: dict[str, Any] = field(metadata=doc("fields of a record with the value that most points have"))
    points: list[KeptPoint] = field(metadata=doc("points in the order in which they were run first"))

    @property
    def n_rounds(self) -> int:
        """Most records that a point has."""
        return max(len(point.rounds) for point in self.points)


@json_part
class ProgramVariant(JsonPart):
    """One way in which another program was run."""

    label: str = field(metadata=doc("name of the way; of a parallelism that schedulers have too, the scheduler's"))
    seconds: list[float] = field(metadata=doc("inference, one for each round", "s"))
    categories_count: int = field(metadata=doc("number of categories that it found"))


@json_part
class ProgramRecord(JsonPart):
    """Times of a program that is not this project's; written by hand."""

    kind: str = field(default=PROGRAM, metadata=doc("program"))
    name: str = field(metadata=doc("name of the program"))
    source: str = field(metadata=doc("where it is published"))
    revision: str = field(metadata=doc("its revision"))
    compiler: str = field(metadata=doc("compiler and version"))
    flags: str = field(metadata=doc("flags of the compiler"))
    command: str = field(metadata=doc("command that ran it"))
    date: str = field(metadata=doc("day of the measurement, in ISO 8601"))
    machine: MeasuringMachine = field(metadata=doc("where it was measured"))
    neurons: int = field(metadata=doc("neurons of the challenge's network"))
    layers: int = field(metadata=doc("its layers"))
    instances: int = field(metadata=doc("instances of the challenge's input"))
    threads: int = field(metadata=doc("threads"))
    truth_count: int = field(metadata=doc("number of true categories"))
    variants: list[ProgramVariant] = field(metadata=doc("ways in which it was run"))

    def fastest(self) -> ProgramVariant:
        """Return the way with the smallest median."""
        return min(self.variants, key=lambda one: median(one.seconds))


Kept = KeptExperiment | ProgramRecord


def read_kept(path: Path) -> Kept:
    """Read a committed file, checked.

    Raises
    ------
    ConfigError
        If it is none, lacks a field, or says that categories were wrong.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind = values.get("kind") if isinstance(values, dict) else None
        if kind not in (EXPERIMENT, PROGRAM):
            raise FieldError(f"kind is {kind!r}, not {EXPERIMENT} or {PROGRAM}")
        kept: Kept = from_json(KeptExperiment, values) if kind == EXPERIMENT else from_json(ProgramRecord, values)
        _require_right(kept)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a committed record: {error}") from error
    return kept


def _require_right(kept: Kept) -> None:
    """Refuse what lacks its provenance or has wrong categories."""
    for name in ("command", "revision", "date"):
        if not getattr(kept, name):
            raise FieldError(f"{name} is empty")
    if isinstance(kept, ProgramRecord):
        wrong = [one.label for one in kept.variants if one.categories_count != kept.truth_count or not one.seconds]
    else:
        wrong = [point.label for point, run in runs_of(kept) if (run.get("truth") or {}).get("match") is False]
    if wrong:
        raise FieldError(f"wrong categories or no times: {', '.join(wrong)}")


def runs_of(kept: KeptExperiment) -> Iterator[tuple[KeptPoint, dict[str, Any]]]:
    """Yield each point with all fields of its records."""
    for point in kept.points:
        yield point, {name: value for name, value in {**kept.common, **point.run}.items() if value is not None}


def kept_text(kept: Kept) -> str:
    """Return a file's text: JSON with one line for each point, so that changes can be read."""
    values = to_json(kept)
    rows = values.pop("points", None) or values.pop("variants")
    head = json.dumps(values, indent=1, ensure_ascii=False)[:-2]
    lines = ",\n  ".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows)
    name = "points" if isinstance(kept, KeptExperiment) else "variants"
    return f'{head},\n "{name}": [\n  {lines}\n ]\n}}\n'


def points_of_kept(kept: KeptExperiment) -> Points:
    """Return the points that a file holds, as if they were read from the folders of the experiment."""
    found = []
    for point, run in runs_of(kept):
        records = tuple(_record(kept, point, run, one) for one in point.rounds)
        folders = tuple(Path(str(one.run or 0)) / str(one.number) for one in point.rounds)
        found.append(Point(point.sweep, point.label, records, folders, _trace(point, run)))
    return Points(kept.name, kept.toy, tuple(found), ())


def spans_of(trace: Trace) -> list[list[int]]:
    """Return the spans of a trace as `KeptPoint.spans` has them."""
    found = []
    for span in trace.spans:
        times_us = [round(1e6 * span.start_s), round(1e6 * span.stop_s)]
        row = [span.process, span.worker, KINDS.index(span.kind), *times_us, span.row_group, span.first_layer, span.last_layer]
        while row[-1] == -1:
            row.pop()
        found.append(row)
    return found


def _trace(point: KeptPoint, run: Mapping[str, Any]) -> Trace | None:
    if point.spans is None:
        return None
    spans = [
        Span(process, worker, KINDS[kind], start_us / 1e6, stop_us / 1e6, *rest)
        for process, worker, kind, start_us, stop_us, *rest in point.spans
    ]
    about = {"scheduler": run["scheduler"], "kernel": run["kernel"], "simulated": run["executor"] == SIMULATED}
    return Trace(spans, about)


def _record(kept: KeptExperiment, point: KeptPoint, run: Mapping[str, Any], one: KeptRound) -> PointRecord:
    machine = kept.machine
    values: dict[str, Any] = {
        "status": COMPLETE,
        "overrides": [*kept.sweeps[point.sweep], *point.overrides],
        "experiment": {
            "name": kept.name, "figure": kept.figure, "toy": kept.toy, "same_categories": kept.same_categories,
            "sweep": point.sweep, "point": point.label, "number": one.number,
        },
        "environment": {
            "git_revision": kept.revision, "versions": machine.versions, "host": "", "system": machine.system,
            "cpu": machine.cpu, "cores": machine.cores, "cores_usable": machine.cores, "memory_bytes": machine.memory_bytes,
        },
        "config": {"optimize": run.get("optimize", {})},
        **{name: value for name, value in run.items() if name != "optimize"},
        **(one.figures or {}),
    }  # fmt: skip
    if one.seconds is not None:
        values["seconds"] = {"inference": one.seconds, "inference_median": median(one.seconds)}
        values["peak_rss_bytes"] = one.peak_rss_bytes or 0
        values["workers"] = [{**(one.mean_worker or {}), "process": 0, "thread": 0}]
    if one.disturbance is not None:
        values["disturbance"] = one.disturbance
    if run.get("executor") == SIMULATED:
        values["calibration"] = kept.calibration or {}
    return record_from_json(values, whole=False)
