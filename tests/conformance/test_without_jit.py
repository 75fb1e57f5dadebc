"""The kernels as plain Python: their lines, not only their compiled form, give the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import JIT_DISABLED

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(JIT_DISABLED, reason="this is the run without the JIT")
@pytest.mark.timeout(600)
def test_the_conformance_suite_passes_with_the_jit_disabled() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "tests/conformance/test_backend.py",
            "tests/conformance/test_schedulers.py",
            "tests/conformance/test_activations.py",
            "tests/conformance/test_weights.py",
            "tests/unit/test_profiling.py",
            "tests/gpu/test_packing.py",
            "-k",
            "not cupy_on_host",  # of its code, Numba compiles only what test_packing is about
            "-p",
            "no:cacheprovider",
            "-n",
            "0",
        ],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
