"""Makes the committed form of records from the folders of an experiment; refuses what cannot stand on a page."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

from experiments.config.resolve import ConfigError
from experiments.figures.straggler_timeline import trace_of
from experiments.records.files import RESULT
from experiments.records.point import BENCHMARK_FIGURES, Environment, PointRecord, about_of, environment_of
from experiments.records.read import Point, Points
from experiments.report.results.kept import KeptExperiment, KeptPoint, KeptRound, MeasuringMachine, spans_of
from experiments.roofline.model import caches
from sparsednn.results.record import RunRecord
from sparsednn.results.simulated_record import SimulatedRun
from sparsednn.results.worker_times import WorkerFigures
from sparsednn.system.json_fields import named, to_json

FIELDS = named(
    RunRecord, "neurons", "layers", "instances", "input_nnz", "network_nnz", "backend", "kernel", "scheduler",
    "scheduler_options", "executor", "hashing", "row_order", "processes", "threads", "optimizations", "categories_count",
    "categories_sha256", "truth", "performed_edges",
)  # fmt: skip
"""Fields of an inference that are kept."""

OF_TRAFFIC = ("memory_bytes", "from_cache", "memory_s")
OF_WORKERS = {"locking": (), "parallelisms": ("model", "data_then_model"), "pairs": ("data_then_model",)}
"""Figures that show the parts of the workers' time, with the schedulers of which they do; none named: of all."""

PARTS = named(WorkerFigures, "enlist_s", "probe_s", "recruit_s", "meet_s", "lock_s", "wait_s", "idle_s", "locking_s")
SHA_DIGITS = 12
CHANGED = "+changes"


def kept_of(points: Points, dirty: bool = False) -> KeptExperiment:
    """Return the committed form of an experiment's points.

    Parameters
    ----------
    points : Points
        Read from the experiment's folders.
    dirty : bool
        Take records of code that differed from its revision, too; the file says so by ``+changes``.

    Raises
    ------
    ConfigError
        If points failed, categories were wrong, or records are of several revisions or machines.
    """
    require_keepable(points, dirty)
    first, runs = points.records[0], [_run_fields(point) for point in points.points]
    sweeps = {point.sweep: _shared(points.of(point.sweep)) for point in points.points}
    common = _most_frequent(runs)
    folders = [folder for point in points.points for folder in point.folders]
    tops = list(dict.fromkeys(folder.parent for folder in folders))
    about, env = about_of(first), environment_of(first)
    return KeptExperiment(
        name=points.name,
        figure=about.figure,
        toy=points.toy,
        same_categories=points.same_categories,
        command=_command(tops[0], points.name),
        revision=str(env.git_revision),
        date=_date(folders),
        machine=machine_of(env),
        calibration=_calibration(points.records),
        sweeps=sweeps,
        common=common,
        points=[
            KeptPoint(
                sweep=point.sweep,
                label=point.label,
                overrides=_own_overrides(point, sweeps[point.sweep]),
                run={name: run.get(name) for name in common if run.get(name) != common[name]},
                spans=spans_of(trace_of(point)) if about.figure == "straggler_timeline" else None,
                rounds=[_round(point, place, tops) for place in range(len(point.records))],
            )
            for point, run in zip(points.points, runs, strict=True)
        ],
    )


def require_keepable(points: Points, dirty: bool) -> None:
    """Refuse points that cannot stand on a page; see `kept_of`."""
    if points.failed:
        raise ConfigError(f"{points.name}: {len(points.failed)} points failed, none is kept: {points.failed[0]}")
    environments = [environment_of(record) for record in points.records]
    for what, values in (
        ("revisions", {str(env.git_revision) for env in environments}),
        ("machines", {f"{env.cpu}, {env.cores_usable} cores" for env in environments}),
    ):
        if len(values) > 1:
            raise ConfigError(f"{points.name}: records of several {what} are not kept: {', '.join(sorted(values))}")
    revision = environments[0].git_revision
    if revision is None or (revision.endswith(CHANGED) and not dirty):
        raise ConfigError(f"{points.name}: made with code of no revision ({revision}); commit, and measure again")
    wrong = [record for record in points.records if record.has_run and record.run.truth.match is False]
    if wrong:
        raise ConfigError(f"{points.name}: wrong categories: {about_of(wrong[0]).point}")


def machine_of(env: Environment) -> MeasuringMachine:
    """Return the description of a machine; its caches, if it is this one."""
    here = env.host == socket.gethostname()
    return MeasuringMachine(
        cpu=env.cpu,
        cores=env.cores_usable,
        memory_bytes=env.memory_bytes,
        caches={cache.name: cache.size_bytes for cache in caches() if not cache.assumed} if here else None,
        system=env.system,
        versions={name: version for name, version in env.versions.items() if version},
    )


def rounded(value: Any, digits: int = 4) -> Any:
    """Return a value of JSON with its numbers rounded to significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(entry, digits) for key, entry in value.items()}
    return [rounded(entry, digits) for entry in value] if isinstance(value, list | tuple) else value


def _run_fields(point: Point) -> dict[str, Any]:
    """Return the kept fields of a point's records, which agree in them."""
    record = point.record
    if not record.has_run:
        return {"executor": record.executed.executor, "processes": 1, "threads": record.executed.threads}
    values = to_json(record.run)
    found = {name: values[name] for name in FIELDS}
    found["categories_sha256"] = found["categories_sha256"][:SHA_DIGITS]
    if point.traffic is not None:
        found["traffic"] = {name: values["traffic"][name] for name in OF_TRAFFIC}
    if record.run.auto is not None:  # who chose the scheduler; what for is in the record
        found["auto"] = values["auto"] | {"predicted_s": {}}
    if record.config and about_of(record).figure == "ablation":
        found["optimize"] = {key: value for key, value in record.config["optimize"].items() if key != "name"}
    return dict(rounded(found, 6))


def _shared(points: Sequence[Point]) -> list[str]:
    """Return the overrides that all points have."""
    return [text for text in points[0].record.overrides if all(text in point.record.overrides for point in points)]


def _own_overrides(point: Point, shared: Sequence[str]) -> list[str]:
    """Return the overrides of a point, without those that its sweep has, or its label says."""
    said = {*shared, *point.label.split(", ")}
    return [text for text in point.record.overrides if text not in said]


def _most_frequent(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each field of any of them with the value that most have; None where most have none."""
    common = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        [(text, _)] = Counter(json.dumps(run.get(name)) for run in runs).most_common(1)
        common[name] = json.loads(text)
    return common


def _round(point: Point, place: int, tops: Sequence[Path]) -> KeptRound:
    record, folder = point.records[place], point.folders[place]
    one = KeptRound(number=about_of(record).number, run=tops.index(folder.parent) or None)
    if not record.has_run:
        held = {name: getattr(record.body, name, None) for name in BENCHMARK_FIGURES}
        one.figures = {name: rounded(_without_summaries(found)) for name, found in held.items() if found is not None}
        return one
    run = record.run
    one.seconds = rounded(run.seconds.inference)
    one.disturbance = None if record.disturbance is None else rounded(to_json(record.disturbance))
    one.peak_rss_bytes = None if point.simulated else int(rounded(float(run.peak_rss_bytes), 3))
    shown = OF_WORKERS.get(about_of(record).figure)
    if shown is not None and (not shown or run.scheduler in shown):
        means = {part: fmean(float(getattr(worker, part)) for worker in run.workers) for part in PARTS}
        one.mean_worker = {part: rounded(value, 3) for part, value in means.items() if value}
    return one


def _without_summaries(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a benchmark's figures without what is worked out from the rest (`experiments.roofline.rates.summed_up`).

    Of direct calls, only medians (p50) are kept round by round, since ratios are of them; other percentiles as one median.
    """
    derived = ("median", "low", "high")
    kept = {key: value for key, value in found.items() if key not in ("rates", "kernels", "settings")}
    if "settings" in found:
        kept["settings"] = [
            {**one, "seconds": {name: _few_times(times) for name, times in one["seconds"].items()}} for one in found["settings"]
        ]
    for part in ("rates", "kernels"):
        if part in found:
            kept[part] = [{key: value for key, value in one.items() if key not in derived} for one in found[part]]
            for one in kept[part]:
                one |= {count: {"bytes": one[count]["bytes"]} for count in ("any_order", "this_order") if count in one}
    return kept


def _few_times(times: Mapping[str, Sequence[float | None]]) -> dict[str, Sequence[float | None]]:
    """Return the times of one contestant in a setting: see `_without_summaries`."""
    known = {name: [time for time in each if time is not None] for name, each in times.items()}
    return {name: each if name == "p50" or not known[name] else [median(known[name])] for name, each in times.items()}


def _calibration(records: Iterable[PointRecord]) -> dict[str, Any] | None:
    """Return what claims and pages say of the calibration, which all simulated records have the same of."""
    found = [record.body.calibration for record in records if isinstance(record.body, SimulatedRun)]
    if not found:
        return None
    machine = {name: found[0]["machine"].get(name) for name in ("cpu", "cores", "date")}
    costs = {name: {"connection_s": {"value": of["connection_s"]["value"]}} for name, of in found[0]["kernels"].items()}
    return {"machine": machine, "kernels": rounded(costs)}


def _command(folder: Path, name: str) -> str:
    """Return the command of a run: what Hydra noted beside it or above it, without Hydra's own keys."""
    for place in (folder, *folder.absolute().parents):
        noted = place / ".hydra" / "overrides.yaml"
        if noted.is_file():
            lines = noted.read_text(encoding="utf-8").splitlines()  # of YAML: a list of texts
            given = [line.removeprefix("- ").strip("'\"") for line in lines if line.startswith("- ")]
            return " ".join(["python run.py", *(text for text in given if not text.startswith("hydra"))])
    return f"python run.py experiment={name}"


def _date(folders: Iterable[Path]) -> str:
    """Return the day on which the last record was written."""
    return datetime.fromtimestamp(max((folder / RESULT).stat().st_mtime for folder in folders), UTC).date().isoformat()
