"""Talks to the checkout whose tests are run: its records of lines, and the processes that run tests with mutants in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from tests.mutation.mutants import Chosen, places_of

INSIDE = Path(__file__).with_name("inside")


@dataclass(frozen=True, slots=True)
class Checkout:
    """The checkout that is tested, the Python that has it installed, and the folder for all that is written about it."""

    folder: Path
    python: Path
    to: Path

    def environment(self) -> dict[str, str]:
        """Kernels are kept apart from the user's, but those are taken over."""
        kernels, users = self.to / "numba" / "sparsednn", Path(user_cache_dir("sparsednn")) / "kernels"
        if users.exists() and not kernels.exists():
            shutil.copytree(users, kernels)
        return {**os.environ, "NUMBA_CACHE_DIR": str(kernels.parent), "PYTHONDONTWRITEBYTECODE": "1"}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start Python in the checkout."""
        command = [str(self.python), str(INSIDE), *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment(), text=True, **options)


class Tests:
    """The tests of a checkout as they run without a mutant, from running all of them once."""

    def __init__(self, checkout: Checkout) -> None:
        self.seconds: dict[str, float] = {}
        self.fixtures: dict[str, list[str]] = {}
        self.fixture_seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._of_context: dict[str, set[str]] = {}
        self._lines: dict[tuple[str, int], set[str]] = {}
        for path in sorted(checkout.to.glob("cover-*/found.json")):
            self._add(json.loads(path.read_text(encoding="utf-8")), checkout.folder)

    def _add(self, found: dict[str, Any], folder: Path) -> None:
        tests = {test: about for test, about in found["tests"].items() if about["outcome"] == "passed"}
        self.failed += [test for test, about in found["tests"].items() if about["outcome"] == "failed"]
        self.fixture_seconds |= found["fixtures"]
        for test, about in tests.items():
            self.seconds[test] = about["seconds"]
            self.fixtures[test] = about["fixtures"]
            for context in (
                f"test {test}",
                f"file {test.partition('::')[0]}",
                *(f"fixture {name}" for name in about["fixtures"]),
            ):
                self._of_context.setdefault(context, set()).add(test)
        for file, lines in found["lines"].items():
            for line, contexts in lines.items():
                names = self._lines.setdefault((Path(file).relative_to(folder).as_posix(), int(line)), set())
                names.update(found["contexts"][context] for context in contexts)

    def that_run(self, file: str, first_line: int, last_line: int) -> list[str]:
        """Return the tests that run any of some lines, fastest first; a fixture that several share counts for each."""
        contexts = {name for line in range(first_line, last_line + 1) for name in self._lines.get((file, line), ())}
        found = {test for context in contexts for test in self._of_context.get(context, ())}
        return sorted(found, key=lambda test: (self.alone(test), test))

    def alone(self, test: str) -> float:
        """Return how long a test takes, with the fixtures that it shares."""
        return self.seconds[test] + sum(self.fixture_seconds.get(name, 0) for name in self.fixtures[test])


class Worker:
    """A process of the checkout that runs tests in forks of itself."""

    def __init__(self, checkout: Checkout, number: int) -> None:
        self._checkout, self._number, self._n_jobs = checkout, number, 0
        self._process = checkout.start("serve", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, tests: Sequence[str], limits: dict[str, float], log: Path, mutant: list[str] | None) -> dict[str, Any]:
        """Run tests, in this order, until one fails; return how it ended (`inside.__main__.answer`)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._n_jobs += 1
        to = self._checkout.to
        job = {
            "tests": list(tests), "limits": limits, "mutant": mutant, "log": str(log), "cache": str(to / "cover-0" / "cache"),
            "folder": str(to / "forks" / f"{self._number}-{self._n_jobs}"),
        }  # fmt: skip
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def written(checkout: Checkout, chosen: Chosen) -> tuple[list[str], int, int]:
    """Write a mutant's file; return module, file and what to run in its place, and the lines of the mutation.

    Raises
    ------
    LookupError
        If the checkout does not have it.
    """
    place = places_of(checkout.folder, chosen.file).get(chosen.mutant)
    if place is None:
        raise LookupError(f"{checkout.folder} has no mutant {chosen.number} ({chosen})")
    path = checkout.to / "mutants" / f"{chosen.number}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(place.text, encoding="utf-8")
    module = chosen.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [module, str(checkout.folder / chosen.file), str(path)], place.first_line, place.last_line
