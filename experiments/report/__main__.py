"""Makes committed records and the pages that are generated from them: ``python -m experiments.report keep`` and ``pages``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.config.resolve import ConfigError
from experiments.records.display import Display
from experiments.records.files import Say
from experiments.report.collect import newest_runs
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.keep import kept_of
from experiments.report.results.kept import kept_text
from experiments.report.results.pages import RECORDS, rewrite
from sparsednn.system.console import run_program
from sparsednn.system.files import atomic_path

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command says; return the exit code."""
    args = _parser().parse_args(arguments)
    display, complaints = Display(Console()), Display(Console(stderr=True))
    try:
        if args.command == "pages":
            for path in rewrite(args.root):
                display.say(f"changed: {path}")
            return 0
        return _keep(args, display.say, complaints.say)
    except (ConfigError, OSError) as error:
        complaints.say(f"error: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description="Commit records, and generate pages.")
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep", help="write the small form of the newest run of each experiment")
    keep.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="where the records are, or folders above it")
    keep.add_argument("--only", nargs="+", metavar="NAME", help="these experiments only")
    keep.add_argument("--toy", action="store_true", help="runs at toy size, to try it")
    keep.add_argument("--dirty", action="store_true", help="records of code that was not committed, too; pages say so")
    keep.add_argument(
        "--into", type=Path, default=ROOT / RECORDS, help="folder of the files; docs/results/records, unless given"
    )
    pages = commands.add_parser("pages", help="rewrite the generated parts of pages, and figures, from the committed records")
    pages.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs; the repository's, unless given")
    return parser


def _keep(args: argparse.Namespace, say: Say, complain: Say) -> int:
    """Write a file for each experiment; return 1 if some could not be kept."""
    runs, unusable = newest_runs(args.folders, args.toy, complain)
    args.into.mkdir(parents=True, exist_ok=True)
    for name, run in runs.items():
        if args.only and name not in args.only:
            continue
        try:
            kept = kept_of(run.points, args.dirty)
        except ConfigError as error:
            unusable.append(str(error))
            continue
        path = CommittedRecords(args.into).path(name)
        with atomic_path(path) as temporary:
            temporary.write_text(kept_text(kept), encoding="utf-8")
        say(f"kept: {path} ({path.stat().st_size / 1e3:.0f} kB)")
    for line in unusable:
        complain(f"error: {line}")
    return 1 if unusable else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
