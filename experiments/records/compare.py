"""Compares any records in one table, with ratios: ``python -m experiments.records FOLDER...``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.records.display import Display
from experiments.records.files import TOY_NOTE, read_all
from experiments.records.job import JOB, fastest
from experiments.records.point import COMPLETE, BenchmarkRun, PointRecord
from experiments.records.statistics import WIDTH
from sparsednn.backend import Optimizations
from sparsednn.results.record import SIMULATED, RunRecord
from sparsednn.system.files import atomic_path
from sparsednn.system.json_fields import named

RUN = named(RunRecord, "executor", "backend", "kernel", "scheduler", "hashing", "processes", "threads")
SWITCHES = named(Optimizations, "rows", "columns", "order", "residency", "weights")
HOW = (*RUN, *SWITCHES)
"""How a record was run; what differs between the records is shown."""

MIXED = {"revision": "revisions", "cpu": "machines", "cores": "numbers of cores"}
"""Fields that should be the same in records whose times are compared, with what to call them."""


def table_of(found: Iterable[tuple[Path, PointRecord]]) -> pd.DataFrame:
    """Return records as a table: one row each.

    Columns: folder, ``toy`` (whether it is of toy size), status, error, the sizes of the job, how it was run,
    ``seconds_median``, ``seconds_min``, ``seconds_max``, ``repeats``, rates, categories, whether
    they are right, revision and machine. What a record does not have is None.
    """
    return pd.DataFrame([_row(folder, record) for folder, record in found])


def _row(folder: Path, record: PointRecord) -> dict[str, Any]:
    run = record.run if record.has_run else None
    seconds, environment = getattr(run, "seconds", None), record.environment
    times = [] if run is None else run.seconds.inference
    body = record.body if run is not None or isinstance(record.body, BenchmarkRun) else record
    return {
        "folder": str(folder),
        "toy": record.experiment is not None and record.experiment.toy,
        "status": record.status,
        "error": record.error,
        **_values(body, JOB),
        **_values(body, RUN),
        **_values(getattr(run, "optimizations", None), SWITCHES),
        "seconds_median": getattr(seconds, "inference_median", None),
        "seconds_min": min(times, default=None),
        "seconds_max": max(times, default=None),
        "repeats": len(times),
        **_values(run, RESULTS),
        "right": getattr(getattr(run, "truth", None), "match", None),
        "revision": getattr(environment, "git_revision", None),
        "cpu": getattr(environment, "cpu", None),
        "cores": getattr(environment, "cores_usable", None),
    }


RESULTS = named(
    RunRecord, "nominal_edges_per_second", "performed_edges_per_second", "categories_count", "categories_sha256"
)  # fmt: skip


def _values(part: object, names: Iterable[str]) -> dict[str, Any]:
    """Return fields by name, None for what is not there."""
    return {name: getattr(part, name, None) for name in names}


def with_ratios(records: pd.DataFrame) -> pd.DataFrame:
    """Return complete records with ``ratio``: how many times as long as the fastest of the same job, medians by medians.

    ``ratio_low`` and ``ratio_high`` are the smallest and largest ratio of any two repeats of the two.
    """
    done = records[(records["status"] == COMPLETE) & records["seconds_median"].notna()].copy()
    if done.empty:
        return done.assign(ratio=[], ratio_low=[], ratio_high=[])
    jobs = list(done[list(JOB)].itertuples(index=False, name=None))
    best = fastest(zip(jobs, done["seconds_median"], done.index, strict=True))
    for name, mine, other in (
        ("ratio", "seconds_median", "seconds_median"), ("ratio_low", "seconds_min", "seconds_max"),
        ("ratio_high", "seconds_max", "seconds_min"),
    ):  # fmt: skip
        done[name] = done[mine] / pd.Series([done.loc[best[job], other] for job in jobs], done.index).astype(float)
    return done.sort_values([*JOB, "seconds_median"], kind="stable")


def mixed(records: pd.DataFrame) -> list[str]:
    """Say what should be the same in records that are compared, and is not, and which have not found the same categories."""
    found = []
    for column, name in MIXED.items():
        values = sorted({str(value) for value in records[column].dropna()})
        if len(values) > 1:
            found.append(f"mixed {name}: {', '.join(value[:48] for value in values)}")
    done = records[records["status"] == COMPLETE]
    for job, group in done.groupby(list(JOB), dropna=False):
        if group["categories_sha256"].nunique() > 1:
            counts = ", ".join(f"{count:,}" for count in sorted(set(group["categories_count"])))
            found.append(f"different categories of {job[0]} x {job[1]}, {job[2]} instances: {counts} of them")
    kinds = {str(kind) for kind in records["executor"].dropna()}
    if len(kinds) > 1:
        found.append(f"mixed executors, simulated and measured times: {', '.join(sorted(kinds))}")
    return found


def ratio_table(records: pd.DataFrame) -> Table:
    """Return a table for the console: the jobs, what differs in how they were run, times and ratios with their spreads."""
    done = with_ratios(records)
    shown = [key for key in HOW if done[key].astype(str).nunique() > 1]
    results = _results_that_say_something(done)
    explained = "; x fastest: of the same network and input, in brackets from end to end of the repeats"
    table = Table(title=f"{len(done)} records{explained if FASTEST in results else ''}")
    for name in ("network", "instances", *shown):
        table.add_column(name)
    for name in results:
        table.add_column(name, justify="right")
    for row in done.to_dict("records"):
        marks = (" (simulated)" if row["executor"] == SIMULATED else "") + (" (toy size)" if row["toy"] else "")
        table.add_row(
            f"{row['neurons']:,.0f} x {row['layers']:,.0f}",
            f"{row['instances']:,.0f}",
            *("" if pd.isna(row[key]) else escape(_short(row[key])) for key in shown),
            *(RESULT_CELLS[name](row) + (marks if name == TIME else "") for name in results),
        )
    return table


def _results_that_say_something(done: pd.DataFrame) -> list[str]:
    """Leave out ratios where all are the fastest of their job, spreads of single times, and a check that all passed."""
    left_out = {
        FASTEST: (done["ratio"] == 1).all(),
        SPREAD: (done["repeats"] == 1).all(),
        CHECK: not any(_wrong(row) for row in done.to_dict("records")),
    }
    return [name for name in RESULT_CELLS if not left_out.get(name, False)]


def _wrong(row: Mapping[Any, Any]) -> str:
    return "" if row["right"] in (True, None) or pd.isna(row["right"]) else "WRONG"


TIME, SPREAD, FASTEST, CHECK = "inference s", "smallest to largest", "x fastest", "check"
RESULT_CELLS: Mapping[str, Callable[[Mapping[Any, Any]], str]] = {
    TIME: lambda row: f"{row['seconds_median']:.4g}",
    SPREAD: lambda row: f"{row['seconds_min']:.4g} to {row['seconds_max']:.4g}",
    FASTEST: lambda row: f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
    CHECK: _wrong,
}
"""Columns of a record's results, each with the function that writes its cell."""


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.records", description="Put the records below any folders into one table, with ratios."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="where the records are, or folders above it")
    parser.add_argument("--csv", type=Path, help="write all columns of all records into this file, failed ones too")
    args = parser.parse_args(arguments)
    display, complaints = Display(Console()), Display(Console(stderr=True))
    try:
        records = table_of(read_all(args.folders, lambda line: complaints.say(f"warning: {line}")))
        if args.csv is not None:
            with atomic_path(args.csv) as temporary:
                records.to_csv(temporary, index=False)
            display.say(f"table: {args.csv}")
    except (ConfigError, OSError) as error:
        complaints.say(f"error: {error}")
        return 1
    if records["toy"].any():
        complaints.say(TOY_NOTE)
    for line in mixed(records):
        complaints.say(f"warning: {line}")
    for row in records[records["status"] != COMPLETE].to_dict("records"):
        why = str(row["error"] or "not run here").splitlines()[0]
        complaints.say(f"warning: {row['folder']}: {row['status']}: {why}")
    Console(width=max(display.console.width, WIDTH)).print(ratio_table(records))
    return 0
