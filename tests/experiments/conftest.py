"""All experiments at toy size, run once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.experiments.toys import chromium, run


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of all experiments at toy size, which are run once."""
    folder = tmp_path_factory.mktemp("smoke")
    done = run("experiment=smoke", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def toys(smoke: Path) -> Callable[[str], Path]:
    """Return the folder of an experiment at toy size, with what it said."""

    def toy(name: str) -> Path:
        _, _, rest = (smoke / "stdout").read_text().partition(f"experiment smoke: {name}, ")
        (smoke / name / "stdout").write_text(rest.partition("experiment smoke: ")[0])
        return smoke / name

    return toy


def pytest_addoption(parser: pytest.Parser) -> None:
    """For runs that are about the report."""
    parser.addoption("--require-chromium", action="store_true", help="do not skip what looks at the report")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs Chromium where it is not installed, unless it is required."""
    if config.getoption("--require-chromium", default=False) or chromium() is not None:
        return
    for item in items:
        if item.get_closest_marker("chromium") is not None:
            item.add_marker(pytest.mark.skip(reason="Chromium is not installed (Debian's package chromium)"))
