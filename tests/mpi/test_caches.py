"""Caches that processes find damaged."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import sparsednn
from backends.common.kernels.column_merging import merge_columns
from tests.mpi.conftest import run


def test_a_damaged_kernel_is_told_where_the_processes_were_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [
        sys.executable,
        "run.py",
        "processes=2",
        "threads=1",
        "layers=12",
        "instances=600",
        "network.cache=false",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    sparsednn.infer(sparsednn.radixnet(1024, 12), sparsednn.challenge_inputs(1024, 600), threads=1)  # all is compiled
    usual = Path(merge_columns.stats.cache_path)  # type: ignore[attr-defined]
    copied = Path(shutil.copytree(usual, tmp_path / "chosen" / "sparsednn" / usual.name))
    damaged = list(copied.glob("column_merging.merge_columns*.nbc"))
    assert damaged
    for path in damaged:
        path.write_bytes(b"")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("is no compiled kernel that can be used (not whole) and was made anew") == 1
    assert f"delete {copied}" in done.stdout
    assert run(*command).stdout.count("no compiled kernel") == 0
