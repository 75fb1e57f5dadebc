"""CuPy is optional; where it must be there, tests that need it fail without it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """For runs that are about CuPy."""
    parser.addoption("--require-cupy", action="store_true", help="do not skip the tests of CuPy's interface")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs CuPy where it is not installed, unless it is required."""
    if config.getoption("--require-cupy", default=False) or find_spec("cupy") is not None:
        return
    for item in items:
        if item.get_closest_marker("cupy") is not None:
            item.add_marker(pytest.mark.skip(reason="CuPy is not installed (extra gpu)"))
