"""CuPy is optional; where it must be there, tests that need it fail without it. No test gives memory back too early.

`fake` stands in for CuPy.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from backends.cupy_gpu.device import cuda
from tests.gpu import host_device
from tests.gpu.fake_cupy import Fake


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """CuPy with two devices, and no kernels in the cache."""
    found = Fake(2)
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda, "import_module", lambda name: found.sparse if "sparse" in name else found)
    return found


@pytest.fixture(scope="module", autouse=True)
def what_stays_is_not_visited() -> None:
    """Take all that other tests have left from the collector, which has to look after each of these tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_is_given_back_too_early() -> Iterator[None]:
    """Memory, of a lazy device or pinned, that a stream still needs."""
    host_device.FAULTS.clear()
    yield
    if host_device.STREAMS:
        gc.collect()
    assert host_device.FAULTS == []


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
