"""Sweeps whose points run in processes of one of Hydra's launchers: their outcomes come back to the sweep."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.config import overrides
from experiments.config.resolve import ConfigError
from experiments.launch import outcomes
from experiments.launch.outcomes import PointOutcome
from experiments.session import Session
from tests.experiments.toys import CONF, record, run

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.mark.parametrize(("layers", "status"), [("6,12", 0), ("6,7", 1)], ids=["all go well", "one fails"])
def test_joblib_runs_the_points_of_a_sweep(layers: str, status: int, tmp_path: Path) -> None:
    done = run("-m", "instances=50", f"layers={layers}", "threads=1", *JOBLIB, f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == status, done.stderr
    assert [record(tmp_path / str(n))["status"] for n in range(2)] == ["complete", "failed" if status else "complete"]
    assert "2 points" in done.stdout
    assert "point 2 of 2: instances=50" in done.stdout
    assert ("1 of 2 points failed" in done.stderr) == bool(status)
    assert "Traceback" not in done.stdout + done.stderr


def test_joblib_runs_experiments_and_their_errors_come_back(tmp_path: Path) -> None:
    arguments = ["-m", "experiment=linear_cost", "experiment.toy=true", "repeats=0,0", *JOBLIB, f"hydra.sweep.dir={tmp_path}"]
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.count("repeats=0: must be at least 1") == 4, "where it happened, and at the end"
    assert f"error: {tmp_path}/1:\n  repeats=0: must be at least 1" in done.stderr


def test_an_outcome_tells_the_process_that_it_comes_to(tmp_path: Path) -> None:
    session = Session(CONF, 2)
    sent = pickle.dumps(PointOutcome(1, tmp_path, status=1, errors=("it broke",)))
    outcomes.listen(session._take)
    for _ in range(2):  # a launcher may read it again
        pickle.loads(sent)
    assert session._end() == 1
    assert list(session.outcomes) == [1]


def test_a_session_is_sent_without_what_it_holds() -> None:
    session = Session(CONF, 3)
    session.outcomes[0] = PointOutcome(0, Path(), status=0)
    code = f"import pickle; s = pickle.loads({pickle.dumps(session)!r}); print(s.n_points, s.outcomes, s.conf)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"3 {{}} {CONF}\n"


def test_launchers_with_processes_are_refused_among_those_of_mpi() -> None:
    overrides.refuse_launchers(["hydra/launcher=basic", "layers=6"])
    with pytest.raises(ConfigError, match=r"hydra/launcher=joblib: not in processes that an MPI launcher has started"):
        overrides.refuse_launchers(["layers=6", "hydra/launcher=joblib"])
