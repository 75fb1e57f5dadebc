"""A plugin for pytest: which lines each test runs, and how long tests take, with what they share apart."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import sitecustomize as hook
from coverage import CoverageData

SEVERAL = ("class", "module", "package", "session")


class Recorder:
    """Records in the process of the tests; processes that these start record for themselves (`sitecustomize`)."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self.folder, self.files = folder, files
        self.tests: dict[str, dict[str, Any]] = {}
        self.fixtures: dict[str, float] = {}
        self._contexts = [""]
        os.environ[hook.COVER] = os.pathsep.join([str(folder / "lines"), *files])
        self._lines: Any = hook.cover(str(folder / "lines"), files, "")
        self._enter("")

    def _enter(self, context: str) -> None:
        self._lines.switch_context(context)
        os.environ[hook.CONTEXT] = context

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Any:
        """A file's own code, as it is imported."""
        self._enter(f"file {collector.nodeid}" if isinstance(collector, pytest.Module) else "")
        report = yield
        self._enter("")
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """One test, with the fixtures of its own."""
        shared = sorted({_name(each) for each in _fixtures(item) if each.scope in SEVERAL})
        about = {"seconds": 0.0, "outcome": "passed", "fixtures": shared}
        self.tests[item.nodeid] = about
        self._contexts = [f"test {item.nodeid}"]
        self._enter(self._contexts[-1])
        before, started = sum(self.fixtures.values()), time.perf_counter()
        done = yield
        about["seconds"] = time.perf_counter() - started - (sum(self.fixtures.values()) - before)
        self._enter("")
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Any:
        """A fixture that several tests share."""
        if fixturedef.scope not in SEVERAL:
            return (yield)
        name = _name(fixturedef)
        self._contexts.append(f"fixture {name}")
        self._enter(self._contexts[-1])
        started = time.perf_counter()
        try:
            return (yield)
        finally:
            self.fixtures[name] = self.fixtures.get(name, 0) + time.perf_counter() - started
            self._contexts.pop()
            self._enter(self._contexts[-1])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of what does not pass: it can tell nothing of a mutant."""
        if report.outcome != "passed":
            self.tests[report.nodeid]["outcome"] = report.outcome

    def pytest_sessionfinish(self) -> None:
        """Write it all down: for each line of each file, the contexts in which it was run."""
        self._lines.stop()
        self._lines.save()
        for name in (hook.COVER, hook.CONTEXT):
            del os.environ[name]
        contexts: dict[str, int] = {}
        lines: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        for path in self.folder.glob("lines.*"):
            data = CoverageData(str(path))
            data.read()
            for file in data.measured_files():
                for line, names in data.contexts_by_lineno(file).items():
                    lines[file][line] |= {contexts.setdefault(name, len(contexts)) for name in names}
        found = {file: {line: sorted(numbers) for line, numbers in of.items()} for file, of in lines.items()}
        record = {"tests": self.tests, "fixtures": self.fixtures, "contexts": list(contexts), "lines": found}
        (self.folder / "found.json").write_text(json.dumps(record), encoding="utf-8")


def _fixtures(item: pytest.Item) -> list[Any]:
    information = getattr(item, "_fixtureinfo", None)
    return [] if information is None else [each for found in information.name2fixturedefs.values() for each in found]


def _name(fixturedef: Any) -> str:
    return f"{fixturedef.baseid}::{fixturedef.argname}"
