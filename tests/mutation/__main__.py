"""Mutants of the library against its tests, in this checkout or another one.

Each step takes up what the one before has written:

    python -m tests.mutation choose --beside OLD_CHECKOUT     # once: the list in mutants.json, of what both checkouts have
    python -m tests.mutation cover --to FOLDER                # run all tests, and record which lines each of them runs
    python -m tests.mutation run --to FOLDER                  # each mutant; goes on where it was ended
    python -m tests.mutation report --to FOLDER
    python -m tests.mutation compare FOLDER_BEFORE FOLDER_AFTER

`cover` and `run` take ``--checkout DIR --python DIR/.venv/bin/python`` (with coverage installed) for another checkout. Nothing
is written to a checkout, nor to the user's caches.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tests.mutation import MUTANTS, PARTS, ROOT, files_of
from tests.mutation.mutants import choose, read, write
from tests.mutation.report import comparison, report
from tests.mutation.run import Runner
from tests.mutation.session import Checkout, Tests

TOGETHER = ("experiments", "docs", "config")
"""Folders of tests that are recorded in one process, since some of them share what takes long; all others are in another."""


def cover(checkout: Checkout, tests: list[str], n_workers: int) -> None:
    """Run tests, all of them in two processes unless some are given, and say which did not pass."""
    for path in checkout.to.glob("cover-*"):
        shutil.rmtree(path)
    files = [str(checkout.folder / file) for part in PARTS for file in files_of(part, checkout.folder)]
    folders = sorted(
        {path.relative_to(checkout.folder / "tests").parts[0] for path in checkout.folder.glob("tests/**/test_*.py")}
    )
    halves = [[f"tests/{name}" for name in folders if (name in TOGETHER) == together] for together in (True, False)]
    shares = [tests] if tests else halves
    waiting = []
    for number, share in enumerate(shares):
        folder = checkout.to / f"cover-{number}"
        folder.mkdir(parents=True)
        log = (folder / "log.txt").open("w", encoding="utf-8")
        waiting.append(checkout.start("record", str(folder), *files, "--", *share, stdout=log, stderr=log))
        if n_workers == 1:
            waiting[-1].wait()
    for process in waiting:
        process.wait()
    known = Tests(checkout)
    print(f"{len(known.seconds)} tests pass, in {sum(known.seconds.values()) + sum(known.fixture_seconds.values()):.0f} s")
    print(*(f"does not pass, and is left out: {test}" for test in sorted(known.failed)), sep="\n")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return the command and its options."""
    parser = argparse.ArgumentParser(
        "python -m tests.mutation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("choose").add_argument("--beside", type=Path, required=True, help="a checkout of the other revision")
    compare = commands.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    for name in ("cover", "run", "report"):
        command = commands.add_parser(name)
        command.add_argument("--to", type=Path, required=True, help="folder for all that is written")
        if name != "report":
            command.add_argument("--checkout", type=Path, default=ROOT)
            command.add_argument("--python", type=Path, default=Path(sys.executable))
            command.add_argument("--jobs", type=int, default=2, help="processes at a time")
        if name == "cover":
            command.add_argument("tests", nargs="*", help="files or folders; all, unless given")
        if name == "run":
            command.add_argument("--part", choices=list(PARTS), help="mutants of one part only")
            command.add_argument("--numbers", type=int, nargs="*", help="some mutants only")
            command.add_argument("--most-seconds", type=float, default=60, help="usual seconds of the tests for one mutant")
    return parser.parse_args(arguments)


def main() -> None:
    """Do what the command line says."""
    given = parsed(sys.argv[1:])
    match given.command:
        case "choose":
            chosen, n_candidates = choose([ROOT, given.beside])
            write(MUTANTS, chosen)
            print(
                *(f"{sum(each.part == part for each in chosen)} of {n} in {part}" for part, n in n_candidates.items()), sep="\n"
            )
        case "compare":
            print(comparison(given.before, given.after))
        case "report":
            print(report(given.to))
        case command:
            checkout = Checkout(given.checkout.resolve(), given.python.absolute(), given.to.resolve())
            if command == "cover":
                cover(checkout, given.tests, given.jobs)
                return
            chosen = [each for each in read(MUTANTS) if given.part in (None, each.part)]
            chosen = [each for each in chosen if given.numbers is None or each.number in given.numbers]
            Runner(checkout, given.most_seconds).run(chosen, given.jobs)
            print(report(given.to))


if __name__ == "__main__":
    main()
