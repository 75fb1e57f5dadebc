"""A plugin for pytest: runs chosen tests in a given order, and says how far it is through a pipe."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest


class Selection:
    """Runs tests until the first that fails."""

    def __init__(self, order: list[str], pipe: int) -> None:
        self.place = {nodeid: place for place, nodeid in enumerate(order)}
        self.pipe = pipe

    def say(self, **about: Any) -> None:
        """Write a line to the pipe, whole."""
        os.write(self.pipe, (json.dumps(about) + "\n").encode())

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what is chosen."""
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda item: self.place[item.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported."""
        if report.failed:
            self.say(failed=report.nodeid or "collection")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self.say(started=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has failed."""
        if report.failed:
            self.say(failed=report.nodeid)
