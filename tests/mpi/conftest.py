"""Runs programs on several processes; without mpi4py and its launcher, these tests are skipped."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.launch.mpiexec import clean_environment
from tests import warm
from tests.conftest import JIT_DISABLED
from tests.mpi import warm_ranks

ROOT = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
HAS_MPI = importlib.util.find_spec("mpi4py") is not None and MPIEXEC.exists()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all tests of this folder where there is no MPI, or Python code is not compiled."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.skipif(not HAS_MPI, reason="mpi4py and mpiexec (extra mpi) are not installed"))
            item.add_marker(pytest.mark.skipif(JIT_DISABLED, reason="processes that start anew take minutes without the JIT"))


def environment() -> dict[str, str]:
    """This project first on the path, wherever the tests are run from."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return clean_environment() | {"PYTHONPATH": path}


def run(*command: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which is to come in time; a program of Python as a fork (see `tests.warm`)."""
    if command[0] == sys.executable:
        return warm.run(command, env=environment())
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )  # fmt: skip


def mpirun(n: int, *arguments: str, anew: bool = False, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a Python program on `n` processes: forks, or new ones (see `tests.mpi.warm_ranks`)."""
    python = [sys.executable] if anew else warm_ranks.command(environment())
    return run(str(MPIEXEC), "-n", str(n), *python, *arguments, timeout_s=timeout_s)
