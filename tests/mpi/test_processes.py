"""Runs on several processes, inside an MPI launcher and from outside."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.test_launched import shell_of_srun
from tests.gpu.host_kernels import COMPILER
from tests.mpi.conftest import mpirun, run

FEW = "instances=600"


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("result.json"))]


@pytest.mark.parametrize(
    ("n", "groups"),
    [
        (1, ["schedulers"]),
        (2, ["schedulers", "challenge"]),
        (4, ["schedulers", "challenge"]),
        (3, ["splits"]),
        *(pytest.param(n, ["combinations"], marks=pytest.mark.slow) for n in (1, 2, 4)),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "-".join(value),
)
def test_all_processes_together_give_what_one_gives(n: int, groups: list[str]) -> None:
    done = mpirun(n, "-m", "tests.mpi.check_infer", *groups, timeout_s=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [done.stdout.count(f"{group}: right") for group in groups] == [n] * len(groups)


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler for the GPU kernels")
def test_processes_with_a_device_each_give_what_one_process_gives() -> None:
    """Three, so that two share a device."""
    done = mpirun(3, "-m", "tests.mpi.check_gpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("right") == 3


def test_a_sweep_over_processes_starts_them_for_each_point(tmp_path: Path) -> None:
    done = run(
        sys.executable, "run.py", "-m", "processes=1,2", "scheduler=data,global_work_stealing", "kernel=csc", FEW,
        f"hydra.sweep.dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(tmp_path)
    assert [record["processes"] for record in found] == [1, 1, 2, 2]
    assert {record["status"] for record in found} == {"complete"}
    assert len({record["categories_sha256"] for record in found}) == 1
    two = found[2]
    assert [process["process"] for process in two["process_records"]] == [0, 1]
    assert sum(process["instances"] for process in two["process_records"]) == 600
    assert two["process_times"]["inference_s"]["min"] <= two["process_times"]["inference_s"]["max"]
    assert {(worker["process"], worker["thread"]) for worker in two["workers"]} >= {(0, 0), (1, 0)}
    assert not list(tmp_path.rglob("running.json"))


def test_a_sweep_inside_the_ranks_it_was_given(tmp_path: Path) -> None:
    done = mpirun(3, "run.py", "-m", "kernel=csc,udc", FEW, "trace=true", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(tmp_path)
    assert [record["processes"] for record in found] == [3, 3]
    assert done.stdout.count("record: ") == 2  # rank 0 alone speaks
    trace = json.loads((tmp_path / "0" / "trace.json").read_text())
    assert {event["pid"] for event in trace["traceEvents"]} == {0, 1, 2}


def test_ranks_that_start_late_find_one_folder(tmp_path: Path) -> None:
    """Ranks one second apart: still one record, in one folder."""
    script = f"import os, runpy, sys, time; time.sleep(int(os.environ['PMI_RANK'])); sys.argv = ['run.py', '{FEW}', "
    script += f"'hydra.run.dir={tmp_path}/${{now:%S-%f}}']; runpy.run_path('run.py', run_name='__main__')"
    done = mpirun(2, "-c", script, anew=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == 1
    assert len(records(tmp_path)) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param(["--help"], 0, "Inference of sparse deep neural networks", id="help"),
        pytest.param(["--cfg", "job"], 0, "neurons: 1024", id="configuration"),
        pytest.param(["nuerons=3"], 1, "unknown key nuerons: did you mean neurons", id="typing error"),
        pytest.param(["kernel=nope"], 1, "kernel=nope: legal: auto", id="unknown kernel"),
        pytest.param(["processes=3"], 1, "processes=3: the MPI launcher has started 2", id="another number of processes"),
    ],
)
def test_what_runs_nothing_releases_all_ranks(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    done = mpirun(2, "run.py", *arguments, *([] if "--help" in arguments else [f"hydra.run.dir={tmp_path}"]), timeout_s=30)
    assert done.returncode == status, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(said) == 1


@pytest.mark.parametrize("inside", [True, False])
def test_more_threads_than_cores_are_noted(tmp_path: Path, inside: bool) -> None:
    options = ["threads=50", "kernel=csc", "instances=6", f"hydra.run.dir={tmp_path}"]
    done = mpirun(2, "run.py", *options) if inside else run(sys.executable, "run.py", "processes=2", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("note: 2 processes of 50 or more threads on") == 1


def test_a_simulated_run_needs_one_rank_only(tmp_path: Path) -> None:
    done = mpirun(2, "run.py", "executor=simulated", "kernel=csc", FEW, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_processes_of_a_node_hold_one_copy_of_the_network(tmp_path: Path) -> None:
    """Three processes: with the network shared, they hold less together, by about one copy or more."""
    held = {}
    for share in ("true", "false"):
        folder = tmp_path / share
        done = run(
            sys.executable, "run.py", "processes=3", "threads=1", "neurons=4096", "layers=120", "instances=60",
            "network.seed=7", "network.cache=false",
            "optimize.columns=none", "kernel=csc", f"cluster.share_network={share}", f"hydra.run.dir={folder}",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        held[share] = sum(process["pss_bytes"] for process in records(folder)[0]["process_records"])
    assert held["true"] < held["false"]


def test_without_a_launcher_it_is_said_what_to_install(tmp_path: Path) -> None:
    done = run(sys.executable, "run.py", "processes=2", "cluster.mpiexec=/no/such/mpiexec", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "cluster.mpiexec=/no/such/mpiexec: there is no such command" in done.stderr


def test_tasks_of_srun_that_do_not_know_each_other_start_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    done = run(sys.executable, "run.py", "processes=2", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "this is one of 2 tasks of srun" in done.stderr
    assert not (tmp_path / "mpiexec.log").exists()


def test_processes_start_in_a_shell_of_srun(tmp_path: Path) -> None:
    """Whose variables neither this process nor the launcher that it starts may follow."""
    done = shell_of_srun("run.py", "processes=2", "layers=6", "kernel=csc", "instances=60", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [record["processes"] for record in records(tmp_path)] == [2]


def test_another_launcher_s_variables_do_not_reach_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.launch.mpiexec import clean_environment

    for name in ("PMI_RANK", "PMIX_NAMESPACE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALRANKID"):
        monkeypatch.setenv(name, "1")
    assert not {name for name in clean_environment() if name.startswith(("PMI", "OMPI", "MPI_LOCAL"))}
    assert "PATH" in clean_environment()
    assert os.environ["PMI_RANK"] == "1"
