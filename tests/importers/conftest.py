"""PyTorch, Keras and h5py are optional; where they must be there, a test that is skipped fails."""

from __future__ import annotations

from collections.abc import Generator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """For runs that are about importers."""
    parser.addoption("--require-importers", action="store_true", help="do not skip a test of importers")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test that is skipped fail where none may be."""
    report = yield
    if report.skipped and item.config.getoption("--require-importers", default=False):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped, and may not be: {report.longrepr}"
    return report
