"""Says how many mutants of each part the tests have found, and which ones they have not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.mutation import PARTS
from tests.mutation.run import Result, results_of

FOUND = ("killed", "crashed", "timeout")
COLUMNS = ("killed", "crashed", "timeout", "survived", "not covered")


def table(results: Iterable[Result]) -> list[str]:
    """Return a line for each part: mutants, what became of them, and the share that was found."""
    counts = Counter((part, result.outcome) for result in results for part in (result.part, "all"))
    lines = [f"{'':12}{'mutants':>12}{''.join(f'{column:>12}' for column in COLUMNS)}{'found':>12}"]
    for part in (*PARTS, "all"):
        row = [counts[part, outcome] for outcome in COLUMNS]
        n, found = sum(row), sum(counts[part, outcome] for outcome in FOUND)
        share = f"{found / n:.1%}" if n else "-"
        lines.append(f"{part:12}{n:>12}{''.join(f'{count:>12}' for count in row)}{share:>12}")
    return lines


def described(result: Result) -> str:
    """Return a line on a mutant."""
    file, _, rest = result.mutant.partition(":")
    run = f"{result.n_run} of {result.n_covering} covering tests" if result.test is None else result.test
    return f"{result.number:4} {result.outcome}: {file}:{result.line}:{rest} [{run}]"


def report(folder: Path) -> str:
    """Return the table of a folder's results, and all that no test has told."""
    results = results_of(folder)
    seconds = sum(result.seconds for result in results) / max(1, len(results))
    missed = [described(result) for result in results if result.outcome not in FOUND]
    return "\n".join([*table(results), "", f"{seconds:.1f} s a mutant", "", *missed])


def comparison(before: Path, after: Path) -> str:
    """Return both tables, and each mutant that only one of two revisions has found."""
    old, new = ({result.number: result for result in results_of(folder)} for folder in (before, after))
    both = sorted(old.keys() & new.keys())
    lines = ["before", *table(old[n] for n in both), "", "after", *table(new[n] for n in both)]
    for title, first, second in (("found before, not after", old, new), ("found after, not before", new, old)):
        lost = [described(second[n]) for n in both if first[n].outcome in FOUND and second[n].outcome not in FOUND]
        lines += ["", f"{title}: {len(lost)}", *lost]
    missed = [described(new[n]) for n in both if old[n].outcome not in FOUND and new[n].outcome not in FOUND]
    return "\n".join([*lines, "", f"found by neither: {len(missed)}", *missed])
