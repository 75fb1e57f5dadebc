"""Runs each mutant against the tests that run its lines, quick ones first, and writes what became of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from tests.mutation.mutants import Chosen
from tests.mutation.session import Checkout, Tests, Worker, written

RESULTS = "results.jsonl"
FIRST_S = 3.0
"""Quick tests that take so long together are run first: importing all other test files costs more."""

LEAST_LIMIT_S, SLOWER = 20.0, 10
"""A test may take so many times its usual time, at least these seconds, and no more than the suite's own limit."""

MOST_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a mutant.

    Attributes
    ----------
    outcome : str
        "killed" or "crashed" (a process died) by a test, "timeout" of a test, "survived", or "not covered".
    line : int
        Where the mutation is in the checkout.
    test : str or None
        At which it ended.
    n_covering, n_run : int
        Tests that run the mutated lines, and how many of them were run until the end; not all, where they would have taken
        longer than is allowed for a mutant.
    """

    number: int
    part: str
    mutant: str
    line: int
    outcome: str
    test: str | None
    n_covering: int
    n_run: int
    seconds: float


class Runner:
    """Runs mutants in several processes.

    Parameters
    ----------
    most_s : float
        Usual seconds of the tests of a mutant: quick ones are taken until they take so long, and the others are left out.
    """

    def __init__(self, checkout: Checkout, most_s: float) -> None:
        self.checkout, self.most_s, self.tests = checkout, most_s, Tests(checkout)
        self.limits = {
            test: min(MOST_LIMIT_S, max(LEAST_LIMIT_S, SLOWER * self.tests.alone(test))) for test in self.tests.seconds
        }
        self.results = checkout.to / RESULTS
        self._right: dict[str, bool] = {}
        self._lock = threading.Lock()

    def run(self, chosen: Sequence[Chosen], n_workers: int) -> None:
        """Run what has no result yet; a mutant whose line the checkout no longer has is left out, and said."""
        here = []
        for each in chosen:
            try:
                written(self.checkout, each)
            except LookupError as error:
                print(f"left out: {error}", flush=True)
            else:
                here.append(each)
        self.checkout.to.joinpath("logs").mkdir(exist_ok=True)
        done = {result.number for result in results_of(self.checkout.to)}
        waiting: SimpleQueue[Chosen] = SimpleQueue()
        for each in here:
            if each.number not in done:
                waiting.put(each)
        threads = [threading.Thread(target=self._work, args=(number, waiting)) for number in range(n_workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, number: int, waiting: SimpleQueue[Chosen]) -> None:
        worker = Worker(self.checkout, number)
        try:
            while True:
                result = self.result(worker, waiting.get_nowait())
                with self._lock, self.results.open("a", encoding="utf-8") as file:
                    print(json.dumps(asdict(result)), file=file)
                    print(f"{result.number:4} {result.outcome:11} {result.seconds:6.1f} s  {result.mutant}", flush=True)
        except Empty:
            worker.close()

    def result(self, worker: Worker, chosen: Chosen) -> Result:
        """Run a mutant until a test that is right without it tells it."""
        mutant, first_line, last_line = written(self.checkout, chosen)
        covering = self.tests.that_run(chosen.file, first_line, last_line)
        log = self.checkout.to / "logs" / f"{chosen.number}.txt"
        outcome, test, n_run, seconds = ("survived" if covering else "not covered"), None, 0, 0.0
        stages = self.stages(covering)
        while stages and test is None and outcome == "survived":
            tests = [each for each in stages.pop(0) if self._right.get(each, True)]
            answer = worker.run(tests, self.limits, log, mutant)
            seconds += answer["seconds"]
            n_run += answer["ran"]
            if answer["outcome"] == "passed":
                continue
            told = [answer["test"]] if answer["test"] in self.tests.seconds else tests
            if self._are_right(worker, told, log):
                outcome, test = {"failed": "killed"}.get(answer["outcome"], answer["outcome"]), answer["test"] or "start"
            else:
                stages.insert(0, [each for each in tests if each not in told])
        about = f"{chosen}"
        return Result(chosen.number, chosen.part, about, first_line, outcome, test, len(covering), n_run, round(seconds, 1))

    def stages(self, covering: list[str]) -> list[list[str]]:
        """Return the quick tests, and the others as far as there is time; those of a file are run one after the other."""
        first: list[str] = []
        others: list[str] = []
        fixtures: set[str] = set()
        seconds = 0.0
        for test in covering:
            new = set(self.tests.fixtures[test]) - fixtures
            seconds += self.tests.seconds[test] + sum(self.tests.fixture_seconds.get(name, 0) for name in new)
            if seconds > self.most_s and (first or others):
                break
            fixtures |= new
            (first if seconds <= FIRST_S else others).append(test)
        return [by_file(stage) for stage in (first, others) if stage]

    def _are_right(self, worker: Worker, tests: list[str], log: Path) -> bool:
        """Whether tests pass without the mutant, in the same surroundings; asked once for each test."""
        unknown = [test for test in tests if test not in self._right]
        if unknown:
            answer = worker.run(unknown, self.limits, log, None)
            self._right |= dict.fromkeys(unknown, answer["outcome"] == "passed" and answer["ran"] == len(unknown))
        return all(self._right[test] for test in tests)


def by_file(tests: list[str]) -> list[str]:
    """Return tests with those of a file side by side, where the first of them was."""
    places = {file: place for place, file in enumerate(dict.fromkeys(test.partition("::")[0] for test in tests))}
    return sorted(tests, key=lambda test: places[test.partition("::")[0]])


def results_of(folder: Path) -> list[Result]:
    """Read the results of a folder."""
    path = folder / RESULTS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sorted((Result(**json.loads(line)) for line in lines), key=lambda result: result.number)
