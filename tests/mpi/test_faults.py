"""Whatever goes wrong in one rank ends all of them soon, with one message, and leaves a record that says so."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from tests.mpi.conftest import MPIEXEC, ROOT, environment, mpirun, run

SOON_S = 10.0
HANGS = "SPARSEDNN_TEST_HANGS"
"""Names the file by which a rank that hangs says so (see `tests.mpi.faulty`)."""

QUICK = ("instances=600", "kernel=csc")
MESSAGES = {
    "raise": "rank 1 of 2: a made-up fault",
    "bug": "rank 1 of 2: ZeroDivisionError: a made-up bug",
    "memory": "rank 1 of 2: Unable to allocate 8.00 GiB",
}


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def wrapper(folder: Path, fault: str) -> str:
    """A launcher that starts ranks with a fault."""
    path = folder / "mpiexec"
    path.write_text(
        f'#!/bin/sh\nexec {shlex.quote(str(MPIEXEC))} "$1" "$2" "$3" -m tests.mpi.faulty {fault} '
        'experiments.launch.mpi_worker "$6"\n'
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        ("load", "raise"),
        ("load", "bug"),
        ("inference", "raise"),
        ("inference", "memory"),
        ("gather", "memory"),
        ("gather", "bug"),
    ],
)
def test_an_error_in_one_rank_ends_all(tmp_path: Path, phase: str, kind: str) -> None:
    done = mpirun(
        2, "-m", "tests.mpi.faulty", phase, "1", kind, "run.py", "-m", "repeats=1,2", *QUICK, f"hydra.sweep.dir={tmp_path}",
        anew=kind == "memory", timeout_s=60,  # the limit is of an address space, and forks have another one
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count(f"error: {MESSAGES[kind]}") == 1
    assert record(tmp_path / "0")["status"] == "failed"
    assert MESSAGES[kind] in record(tmp_path / "0")["error"]
    assert not (tmp_path / "1").exists()  # the user's own mpiexec has ended the sweep with the ranks


def test_a_killed_rank_ends_all_and_leaves_a_running_mark(tmp_path: Path) -> None:
    done = mpirun(
        2, "-m", "tests.mpi.faulty", "inference", "1", "kill", "run.py", *QUICK, f"hydra.run.dir={tmp_path}", anew=True
    )
    assert done.returncode != 0
    assert not (tmp_path / "result.json").exists()
    assert (tmp_path / "running.json").exists()


@pytest.mark.parametrize(
    ("fault", "options", "message"),
    [
        pytest.param("load 1 raise", [], "rank 1 of 2: a made-up fault", id="an error"),
        pytest.param("inference 1 kill", [], "2 processes: a process was ended by SIGKILL", id="a killed rank"),
        pytest.param("inference 1 hang", ["cluster.timeout_s=8"], "cluster.timeout_s=8: 2 processes took longer", id="a hang"),
    ],
)
def test_a_sweep_goes_on_where_it_starts_the_ranks_itself(tmp_path: Path, fault: str, options: list[str], message: str) -> None:
    done = run(
        sys.executable, "run.py", "-m", "processes=2,1", *QUICK, f"cluster.mpiexec={wrapper(tmp_path, fault)}",
        f"hydra.sweep.dir={tmp_path / 'sweep'}", *options, timeout_s=60,
    )  # fmt: skip
    assert done.returncode == 1
    failed, complete = (record(tmp_path / "sweep" / number) for number in "01")
    assert failed["status"] == "failed"
    assert message in failed["error"]
    assert message in done.stderr
    assert complete["status"] == "complete"
    assert not list((tmp_path / "sweep").rglob("running.json"))


@pytest.mark.parametrize("inside", [True, False], ids=["mpiexec python run.py", "python run.py"])
def test_ctrl_c_ends_all_ranks(tmp_path: Path, inside: bool) -> None:
    """With one rank hanging, so that there is something to interrupt."""
    folder = tmp_path / "out"
    if inside:
        command = [str(MPIEXEC), "-n", "2", sys.executable, "-m", "tests.mpi.faulty", "inference", "1", "hang", "run.py"]
    else:
        command = [sys.executable, "run.py", "processes=2", f"cluster.mpiexec={wrapper(tmp_path, 'inference 1 hang')}"]
    hangs = tmp_path / "hangs"
    process = subprocess.Popen(
        [*command, *QUICK, f"hydra.run.dir={folder}"], cwd=ROOT, env=environment() | {HANGS: str(hangs)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    ranks: list[psutil.Process] = []
    deadline = monotonic() + 60
    while not hangs.exists() and monotonic() < deadline:
        sleep(0.1)
    assert hangs.exists()
    assert (folder / "running.json").exists()
    sleep(1)  # for the others to wait for it
    ranks = psutil.Process(process.pid).children(recursive=True)
    assert ranks
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
    started = monotonic()
    process.communicate(timeout=30)
    assert process.returncode != 0
    _, alive = psutil.wait_procs(ranks, timeout=SOON_S)
    assert not alive
    assert monotonic() - started < SOON_S
    if not inside:
        assert record(folder)["error"] == "interrupted"
