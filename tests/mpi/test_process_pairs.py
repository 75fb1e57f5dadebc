"""Processes against threads: an experiment whose processes are all new ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from tests.mpi.conftest import run


def test_both_are_run_in_new_processes_in_turn(tmp_path: Path) -> None:
    arguments = ["experiment=process_pairs", "experiment.toy=true", "experiment.rounds=1", f"hydra.run.dir={tmp_path}"]
    done = run(sys.executable, "run.py", *arguments)
    assert done.returncode == 0, done.stderr
    records = [json.loads((tmp_path / str(number) / "result.json").read_text()) for number in range(2)]
    assert [(record["processes"], record["threads"]) for record in records] == [(2, 1), (1, 2)]
    assert all((tmp_path / str(number) / "mpiexec.log").exists() for number in range(2)), "both were started"
    assert len({record["categories_sha256"] for record in records}) == 1
    drawn = pd.read_csv(tmp_path / "pairs.csv")
    assert (drawn["rounds"].tolist(), drawn["ratio"].notna().tolist()) == ([0, 1], [False, True])


def test_one_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    done = run(sys.executable, "run.py", "processes=1", "cluster.timeout_s=0.2", "instances=60", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "cluster.timeout_s=0.2: 1 process took longer" in done.stderr
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "failed"
