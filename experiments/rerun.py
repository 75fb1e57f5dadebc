"""Runs points again from their records alone, and compares: ``python -m experiments.rerun FOLDER...``.

A point must find the same categories again, and a simulated one must take exactly the same virtual seconds. Measured times are
shown beside each other, and nothing is asked of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.config.resolve import ConfigError, from_record
from experiments.launch.point import run_point
from experiments.records.display import Display
from experiments.records.files import read_all
from experiments.records.point import COMPLETE, PointRecord
from experiments.records.statistics import WIDTH
from sparsednn.results.record import RunRecord, Truth
from sparsednn.results.simulated_record import SimulatedRun, SimulatedSeconds
from sparsednn.system.console import run_program
from sparsednn.system.json_fields import JsonPart, named

CATEGORIES = named(RunRecord, "categories_count", "categories_sha256")
ANSWERS = named(Truth, "correct", "of")
EXACT = named(SimulatedRun, *CATEGORIES, "performed_edges", "workers", "traffic")
EXACT_SECONDS = named(SimulatedSeconds, "inference", "processes", "gather")
"""Fields that are the same in every run of a configuration, and in every simulated one; real work that is avoided by chance, as
in teams, is not."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A record and what its configuration gave now: ``differs`` names what should be the same and is not."""

    folder: Path
    before: PointRecord
    now: PointRecord
    differs: tuple[str, ...]


def rerun(folder: Path, record: PointRecord, into: Path, console: Console) -> Comparison:
    """Run the configuration of a record again, with its record and traces in the folder `into`.

    Raises
    ------
    ConfigError
        If the record has no configuration, or that of another version.
    """
    config = _config(folder, record)
    into.mkdir(parents=True, exist_ok=True)
    now = run_point(lambda: config, into, list(record.overrides), console)
    if now.status != COMPLETE:
        return Comparison(folder, record, now, (f"failed: {now.error or 'unknown'}",))
    return Comparison(folder, record, now, tuple(_differences(record.run, now.run)))


def _config(folder: Path, record: PointRecord) -> Any:
    if record.config is None:
        raise ConfigError(f"{folder}: its record has no configuration; only points of inferences can be run again")
    try:
        return from_record(record.config)
    except Exception as error:  # OmegaConf has many kinds
        raise ConfigError(f"{folder}: its configuration is of another version of sparsednn: {error}") from error


def _differences(before: RunRecord, now: RunRecord) -> list[str]:
    """Name what should be the same and is not."""
    if not isinstance(before, SimulatedRun):
        answered = ANSWERS if before.truth.kind is not None else ()  # older records do not say
        return _different(before, now, CATEGORIES) + _different(before.truth, now.truth, answered, "truth.")
    return _different(before, now, EXACT) + _different(before.seconds, now.seconds, EXACT_SECONDS, "seconds.")


def _different(before: JsonPart, now: JsonPart, names: Sequence[str], prefix: str = "") -> list[str]:
    """Name the fields that differ; those that an older record lacks do not."""
    return [
        prefix + name for name in names if hasattr(before, name) and getattr(before, name) != getattr(now, name, None)
    ]  # fmt: skip


def table(comparisons: Sequence[Comparison]) -> Table:
    """Return a table of all comparisons."""
    found = Table(title="Run again from their records")
    for name in ("record", "executor", "categories"):
        found.add_column(name)
    for name in ("s before", "s now"):
        found.add_column(name, justify="right")
    found.add_column("")
    for one in comparisons:
        said = "the same" if not one.differs else f"DIFFERS: {', '.join(one.differs)}"
        times = [f"{r.run.seconds.inference_median:.6g}" if r.has_run else "" for r in (one.before, one.now)]
        run = one.before.run
        found.add_row(str(one.folder), run.executor, f"{run.categories_count:,}", *times, escape(said))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run again and compare; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.rerun",
        description="Run points again from their records alone, and compare: they must find the same categories, and simulated "
        "ones take exactly the same virtual seconds.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="where the records are, or folders above it")
    parser.add_argument("--into", type=Path, help="keep the new records in this folder (default: they are thrown away)")
    args = parser.parse_args(arguments)
    display, complaints = Display(Console()), Display(Console(stderr=True))
    try:
        found = read_all(args.folders, lambda line: complaints.say(f"warning: {line}"))
        records = [(where, r) for where, r in found if r.status == COMPLETE and r.has_run]
        if not records:
            raise ConfigError(f"{', '.join(map(str, args.folders))}: no complete record of an inference")
        for folder, record in records:
            _config(folder, record)
        with tempfile.TemporaryDirectory() as temporary:
            into = args.into or Path(temporary)
            done = [rerun(folder, record, into / str(n), display.console) for n, (folder, record) in enumerate(records)]
    except (ConfigError, OSError) as error:
        complaints.say(f"error: {error}")
        return 1
    Console(width=max(display.console.width, WIDTH)).print(table(done))
    different = [one for one in done if one.differs]
    for one in different:
        complaints.say(f"error: {one.folder}: {', '.join(one.differs)}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
