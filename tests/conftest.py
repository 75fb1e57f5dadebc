"""Shared fixtures: challenge data built once, and hypothesis profiles; the order of files, and kernels compiled once."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, settings

import sparsednn
from tests.distribution import is_quick, turn_of

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # some containers set it: then each of many processes would compile all sources

ROOT = Path(__file__).parents[1]
JIT_DISABLED = os.environ.get("NUMBA_DISABLE_JIT") == "1"

_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large], "database": None}
settings.register_profile("default", max_examples=15, derandomize=True, **_common)
settings.register_profile("without_jit", max_examples=2, derandomize=True, **_common)
settings.load_profile("without_jit" if JIT_DISABLED else "default")


@pytest.hookimpl(optionalhook=True)  # there is none with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, and all that shares a run of all experiments to one."""
    from tests.distribution import FilesInTurn

    return FilesInTurn(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files alone that have nothing for every save, if that is all that is asked for: to import them takes as long."""
    if config.option.markexpr != "quick" or not collection_path.name.startswith("test_"):
        return None
    return None if is_quick(collection_path.relative_to(ROOT).as_posix()) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; mark what is for every save."""
    items.sort(key=lambda item: turn_of(item.nodeid))
    for item in items:
        if is_quick(item.nodeid) and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile all kernels with the other process, if both are about to test them; have no more garbage sought in what stays."""
    gc.set_threshold(20_000, 20, 40)  # what tests leave is little beside the libraries
    _keep()
    worker = getattr(session.config, "workerinput", {"workercount": 1})
    every_kernel = any(item.nodeid.startswith("tests/conformance/test_backend.py") for item in session.items)
    if every_kernel and worker["workercount"] > 1 and not JIT_DISABLED:
        from tests.kernels import compile_in_turn

        often = gc.get_threshold()
        gc.set_threshold(*often[:2], 4 * often[2])  # else a twelfth of the time goes into looks at what the compiler needs
        compile_in_turn(Path(tempfile.gettempdir()) / f"sparsednn-kernels-{worker['testrunuid']}")
        gc.set_threshold(*often)
        _keep()


def _keep() -> None:
    """Take all objects that there are from the collector, which would visit millions of them, again and again, for nothing."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def challenge_network() -> sparsednn.Network:
    """The published 1024 x 120 network."""
    return sparsednn.radixnet(1024, 120)


@pytest.fixture(scope="session")
def challenge_rows() -> sp.csr_array:
    """All 60,000 instances at 1024 neurons."""
    return sparsednn.challenge_inputs(1024)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of random numbers, the same in every run."""
    return np.random.default_rng(20190917)


@pytest.fixture
def small_network() -> sparsednn.Network:
    """A mixed-radix network of 12 neurons and 4 layers."""
    return sparsednn.radixnet(12, 4, radices=(2, 3), dense_width=2, bias=-0.1, weight=0.25)


@pytest.fixture
def small_inputs(rng: np.random.Generator) -> sp.csr_array:
    """Nine instances for the small network; the third has no nonzero."""
    dense = rng.integers(0, 2, (9, 12)).astype(np.float32)
    dense[2] = 0
    return sp.csr_array(dense)
