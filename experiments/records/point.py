"""Declares the record of a point: run.py's fields beside the library's fields, both in ``result.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from sparsednn.results.record import SCHEMA_VERSION, SIMULATED, MeasuredRun, RunRecord
from sparsednn.results.simulated_record import SimulatedRun
from sparsednn.system.json_fields import JsonPart, declared, doc, from_json, json_part, to_json, undeclared

COMPLETE, FAILED, SUBMITTED, DRY_RUN = "complete", "failed", "submitted", "dry_run"
"""The ``status`` of a point."""


@json_part
class PointOfExperiment(JsonPart):
    """The point and the experiment that a record belongs to."""

    name: str = field(metadata=doc("name of the experiment"))
    figure: str = field(metadata=doc("the figure that is drawn of it"))
    toy: bool = field(metadata=doc("whether it is at toy size, and says nothing about speed"))
    same_categories: bool = field(metadata=doc("whether all points must find the same categories"))
    sweep: str = field(metadata=doc("name of the sweep"))
    point: str = field(metadata=doc("label of the point in its sweep"))
    number: int = field(metadata=doc("number of the point in the order in which they were run, from 0"))


@json_part
class Environment(JsonPart):
    """Code, packages and machine."""

    git_revision: str | None = field(metadata=doc("revision of the code, with +changes if files differ from it"))
    versions: dict[str, Any] = field(metadata=doc("versions of Python and of packages, null for what is not installed"))
    host: str = field(metadata=doc("name of the machine"))
    system: str = field(metadata=doc("operating system and its release"))
    cpu: str = field(metadata=doc("model of the processor"))
    cores: int | None = field(metadata=doc("cores of the machine"))
    cores_usable: int = field(metadata=doc("cores that the process may run on"))
    cores_quota: float | None = field(
        metadata=doc("cores whose time its control groups may spend, such as 1.5; null without a quota", "cores")
    )
    memory_bytes: int = field(metadata=doc("memory of the machine", "bytes"))
    slurm_job_id: str | None = field(metadata=doc("id of the job of Slurm that it ran in"))


BURNER, STOPS = "burner", "stops"
"""Kinds of a disturbance."""


@json_part
class Disturbance(JsonPart):
    """What disturbed a run on purpose, and how much that really was."""

    kind: str = field(
        metadata=doc(
            "burner: a program that shares a core with a worker; stops: a process is stopped (SIGSTOP) once every 10 ms, which "
            "is like a quota, and is none"
        )
    )
    process: int = field(metadata=doc("rank of the process that was disturbed"))
    core: int | None = field(default=None, metadata=doc("number of the shared core", when="kind burner"))
    nice: int | None = field(default=None, metadata=doc("nice value of the burner, above that of the run", when="kind burner"))
    asked: float | None = field(
        default=None, metadata=doc("share of the time for which it was to be stopped, from 0 to 1", when="kind stops")
    )
    shares: list[float] = field(
        metadata=doc(
            "of each repeat: CPU time of the burner, or time for which the process was stopped, over wall time, from 0 to 1"
        )
    )
    share_median: float = field(metadata=doc("median of the shares"))


@json_part
class BenchmarkRun(JsonPart):
    """The fields that a benchmark writes in place of an inference; its figures stand under its name."""

    executor: str = field(metadata=doc("threads"))
    processes: int = field(metadata=doc("always 1"))
    threads: int = field(metadata=doc("threads that it used"))
    crossover: dict[str, Any] | None = field(default=None, metadata=doc("its figures", when="experiment=crossover"))
    gpu_check: dict[str, Any] | None = field(default=None, metadata=doc("its figures", when="experiment=gpu_check"))
    latency: dict[str, Any] | None = field(default=None, metadata=doc("its figures", when="experiment=latency"))
    random_networks: dict[str, Any] | None = field(default=None, metadata=doc("its figures", when="experiment=random_networks"))
    roofline: dict[str, Any] | None = field(default=None, metadata=doc("its figures", when="experiment=roofline"))
    trained_networks: dict[str, Any] | None = field(
        default=None, metadata=doc("its figures", when="experiment=trained_networks")
    )
    walking: dict[str, Any] | None = field(default=None, metadata=doc("its figures", when="experiment=walking"))


BENCHMARK_FIGURES = tuple(one.name for one in declared(BenchmarkRun) if one.metadata["when"])
"""Names under which a benchmark's figures stand."""


@json_part
class SubmittedJob(JsonPart):
    """A job that was handed to Slurm, or would be."""

    job_id: str | None = field(metadata=doc("id of the job; null before Slurm has given it one"))
    script: str = field(metadata=doc("path of its script"))


Body = RunRecord | BenchmarkRun | SubmittedJob


@json_part
class PointRecord(JsonPart):
    """The record of a point: the fields that run.py writes.

    Attributes
    ----------
    body : RunRecord, BenchmarkRun, SubmittedJob or None
        Outcome of the point; its fields stand beside these in the file. None if there is none.
    """

    schema_version: int = field(default=SCHEMA_VERSION, metadata=doc("version of the fields of a record"))
    status: str = field(default=FAILED, metadata=doc("what came of it: complete, failed, submitted or dry_run"))
    overrides: list[str] = field(default_factory=list, metadata=doc("what the user gave for this point, as key=value"))
    experiment: PointOfExperiment | None = field(default=None, metadata=doc("its experiment", when="points of an experiment"))
    config: dict[str, Any] | None = field(
        default=None, metadata=doc("the resolved configuration, with all keys", when="the configuration is legal")
    )
    config_hash: str | None = field(
        default=None,
        metadata=doc("SHA-256 of what results depend on of it: what resume=true compares", when="the configuration is legal"),
    )
    neurons: int | None = field(default=None, metadata=doc("inputs of the network", when="inferences"))
    layers: int | None = field(default=None, metadata=doc("layers of the network", when="inferences"))
    environment: Environment | None = field(default=None, metadata=doc("where it was run", when="ended or submitted points"))
    disturbance: Disturbance | None = field(
        default=None, metadata=doc("what disturbed it on purpose", when="cluster.disturb says so")
    )
    peak_rss_bytes: int | None = field(
        default=None, metadata=doc("most memory that the process had resident", "bytes", when="it was run")
    )
    error: str | None = field(default=None, metadata=doc("what was wrong, in one line or two", when="failed points"))
    traceback: str | None = field(default=None, metadata=doc("where the program failed", when="faults of the program"))
    body: Body | None = field(default=None, metadata={"hidden": True})

    def fail(self, message: str) -> None:
        """Make it the record of a failed point."""
        self.status, self.error = FAILED, message

    @property
    def run(self) -> RunRecord:
        """The record of the inference.

        Raises
        ------
        TypeError
            If there was none, as in a benchmark.
        """
        if not isinstance(self.body, RunRecord):
            raise TypeError("a record of no inference")
        return self.body

    @property
    def executed(self) -> RunRecord | BenchmarkRun:
        """The record of the inference or of the benchmark.

        Raises
        ------
        TypeError
            If there was neither.
        """
        if not isinstance(self.body, RunRecord | BenchmarkRun):
            raise TypeError("a record of nothing that was run")
        return self.body

    @property
    def has_run(self) -> bool:
        """Whether there was an inference, be its categories right or not."""
        return isinstance(self.body, RunRecord)


def about_of(record: PointRecord) -> PointOfExperiment:
    """Return which point of which experiment a record is of.

    Raises
    ------
    TypeError
        If it is of none.
    """
    if record.experiment is None:
        raise TypeError("a record of no experiment")
    return record.experiment


def environment_of(record: PointRecord) -> Environment:
    """Return where a point was run.

    Raises
    ------
    TypeError
        If its record does not say so.
    """
    if record.environment is None:
        raise TypeError("a record without an environment")
    return record.environment


def benchmark_figures(record: PointRecord, name: str) -> dict[str, Any] | None:
    """Return the figures of a benchmark, or None if the record has none of that benchmark."""
    found: dict[str, Any] | None = getattr(record.body, name, None) if isinstance(record.body, BenchmarkRun) else None
    return found


def record_to_json(record: PointRecord) -> dict[str, Any]:
    """Return a record as the mapping that ``result.json`` has."""
    found = to_json(record)
    for name, value in ({} if record.body is None else to_json(record.body)).items():
        found.setdefault(name, value)
    return found


def record_from_json(values: Mapping[str, Any], whole: bool = True) -> PointRecord:
    """Return the record that a mapping is; see `from_json`."""
    record = from_json(PointRecord, values, whole)
    kind = body_kind(values)
    if kind is not None:
        record.body = from_json(kind, values, whole)
        names = {one.name for one in declared(kind)}
        record.others = {name: value for name, value in record.others.items() if name not in names}
        record.body.others = {}  # they are the record's own fields, or its others
    return record


def body_kind(values: Mapping[str, Any]) -> type[Body] | None:
    """Return what else a record says, by what it has."""
    if any(name in values for name in BENCHMARK_FIGURES):
        return BenchmarkRun
    if "seconds" in values:
        return SimulatedRun if values.get("executor") == SIMULATED else MeasuredRun
    return SubmittedJob if "script" in values else None


def record_undeclared(record: PointRecord) -> list[str]:
    """Return the names of entries of a record that are not declared."""
    return [*undeclared(record), *(undeclared(record.body) if record.body is not None else ())]


@json_part
class RunningMark(JsonPart):
    """``running.json``: the mark of a point that is under way, or has died without a word."""

    host: str = field(metadata=doc("name of the machine"))
    process_id: int = field(metadata=doc("number of the process"))
    started: str = field(metadata=doc("when it began, in ISO 8601"))
    experiment: PointOfExperiment | None = field(default=None, metadata=doc("its experiment", when="points of an experiment"))


@json_part
class TakenNote(JsonPart):
    """``taken.json``: the note that leads to the record that stands for a point."""

    record: str = field(metadata=doc("path of the record, relative to the note's folder"))
    experiment: PointOfExperiment | None = field(default=None, metadata=doc("its experiment", when="points of an experiment"))
