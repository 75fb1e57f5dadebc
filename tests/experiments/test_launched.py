"""Who has started this process: an MPI launcher, with others, or somebody whose launcher has left its variables behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.launch.mpiexec import clean_environment
from sparsednn.comm.mpi import launched

ROOT = Path(__file__).parents[2]
JOB = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "28", "SLURM_NODELIST": "n1", "SLURM_JOB_NODELIST": "n1"}
ONE_NODE = {"SLURM_NNODES": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_TASKS_PER_NODE": "28"}
SHELL = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
PMI = {"PMI_FD": "7", "PMI_RANK": "0", "PMI_SIZE": "1"}
PMIX = {"PMIX_RANK": "0", "PMIX_NAMESPACE": "slurm.pmix.17.0", "PMIX_SERVER_URI2": "x;tcp4://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({}, False, id="nobody"),
        pytest.param({"PMI_RANK": "1", "PMI_SIZE": "2"}, True, id="MPICH"),
        pytest.param({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "0"}, True, id="Open MPI"),
        pytest.param({"MV2_COMM_WORLD_RANK": "0", "MV2_COMM_WORLD_SIZE": "3"}, True, id="MVAPICH"),
        pytest.param({"PALS_RANKID": "0", "PMI_RANK": "0", "PMI_SIZE": "128"}, True, id="Cray PALS"),
        pytest.param(JOB | {"PMI_RANK": "0", "PMI_SIZE": "4", "SLURM_STEP_NUM_TASKS": "4"}, True, id="srun with PMI"),
        pytest.param(JOB | PMIX | {"SLURM_STEP_NUM_TASKS": "4"}, True, id="srun with PMIx"),
        pytest.param({"PMI_RANK": "0", "SLURM_STEP_NUM_TASKS": "4"}, True, id="srun with PMI that says no size"),
        pytest.param(JOB | SHELL | PMI | PMIX | {"PMI_SIZE": "2"}, True, id="mpiexec in a shell of srun"),
        pytest.param(PMI, False, id="MPICH, alone"),
        pytest.param({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, False, id="Open MPI, alone"),
        pytest.param(JOB | ONE_NODE | SHELL | PMI, False, id="left over in a shell of srun with PMI"),
        pytest.param(JOB | ONE_NODE | SHELL | PMIX, False, id="left over in a shell of srun with PMIx"),
        pytest.param(PMIX, False, id="PMIx left over, without a size"),
        pytest.param(PMI | {"SLURM_STEP_NUM_TASKS": "2"}, False, id="tasks of srun without MPI, from such a shell"),
        pytest.param({"PMI_SIZE": "4"}, False, id="a size without a rank"),
        pytest.param(JOB | ONE_NODE, False, id="a script of sbatch"),
        pytest.param(JOB | {"SLURM_STEP_NUM_TASKS": "28"}, False, id="tasks of srun without MPI"),
        pytest.param({"PMI_RANK": "", "PMI_SIZE": ""}, False, id="empty"),
        pytest.param({"PMI_RANK": "x", "PMI_SIZE": "x", "SLURM_STEP_NUM_TASKS": "-2"}, False, id="no numbers"),
        pytest.param({"PMI_RANK": "0", "PMI_SIZE": "2²"}, False, id="not quite a number"),
    ],
)
def test_mpi_is_started_where_a_launcher_has_started_several(environment: dict[str, str], expected: bool) -> None:
    assert launched(environment) is expected


def shell_of_srun(*command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a shell that ``srun --pty`` has started; without srun."""
    bare = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ | JOB | ONE_NODE | SHELL | PMI | PMIX | bare,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_one_process_runs_in_a_shell_of_srun(tmp_path: Path) -> None:
    done = shell_of_srun("run.py", "instances=60", "layers=6", "kernel=csc", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["status"], record["processes"]) == ("complete", 1)


def test_an_inference_runs_in_a_shell_of_srun() -> None:
    text = "sparsednn.infer(sparsednn.radixnet(1024, 6), sparsednn.challenge_inputs(1024, 60), kernel='csc')"
    done = shell_of_srun("-c", f"import sparsednn; print({text}.record['status'])")
    assert done.stdout == "complete\n", done.stderr


@pytest.mark.parametrize(
    ("environment", "srun", "expected"),
    [
        pytest.param(JOB | ONE_NODE | SHELL, True, "fork", id="one node"),
        pytest.param(JOB | {"SLURM_JOB_NUM_NODES": "2"}, True, None, id="two nodes"),
        pytest.param(JOB | {"SLURM_JOB_NUM_NODES": "2"}, False, "fork", id="no srun"),
        pytest.param(JOB | ONE_NODE | {"HYDRA_LAUNCHER": "ssh"}, True, "ssh", id="the user's own"),
        pytest.param({}, False, None, id="no job"),
    ],
)
def test_mpich_s_launcher_waits_for_no_srun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], srun: bool, expected: str | None
) -> None:
    if srun:
        (tmp_path / "srun").write_text("#!/bin/sh\n")
        (tmp_path / "srun").chmod(0o755)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "HYDRA_"))]:
        monkeypatch.delenv(name)
    for name, value in {**environment, "PATH": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert clean_environment().get("HYDRA_LAUNCHER") == expected
