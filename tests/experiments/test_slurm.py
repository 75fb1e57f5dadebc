"""cluster=slurm without Slurm: the script as it is, and jobs handed to programs that stand for sbatch and srun."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from experiments.config.resolve import ConfigError, as_record, resolve
from experiments.launch.slurm import RUN, job_config, job_overrides, script
from experiments.records.files import RESULT
from experiments.records.read import read_points
from tests.config.test_resolve import CONF, composed
from tests.experiments.fakes import fake, fake_git, run, started

SMALL = ["instances=50", "layers=6"]
WHOLE = """\
#!/bin/bash
#SBATCH --job-name=night
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=14
#SBATCH --time=01:30:00
#SBATCH --partition=opa
#SBATCH --account=sparse
#SBATCH --mem=180G
#SBATCH --exclusive
#SBATCH --chdir=/home/me
#SBATCH --output="/data/a run/100%%/slurm-%j.out"
set -e
module load openmpi
source "$HOME/env/bin/activate"
export OMP_NUM_THREADS=14
export OPENBLAS_NUM_THREADS=14
export MKL_NUM_THREADS=14
export SRUN_CPUS_PER_TASK=14
srun --cpu-bind=cores --mpi=pmix python {run} neurons=4096 'network.radices=[2,3]' cluster=local processes=8 threads=14 \
cluster.pin=true 'hydra.run.dir='"'"'/data/a run/100%'"'"''
"""


def left(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return found


def test_the_script_is_exactly_this() -> None:
    given = [
        "neurons=4096", "cluster=omnipath28", "cluster.nodes=4", "network.radices=[2,3]", "cluster.partition=opa",
        "cluster.account=sparse", "cluster.time_limit=01:30:00", "cluster.job_name=night", "cluster.python=python",
        "cluster.setup=[module load openmpi,'source \"$HOME/env/bin/activate\"']", "++cluster.pin=true",
        "cluster.srun_arguments=['--cpu-bind=cores','--mpi=pmix']", "resume=true", "hydra.job.name=x",
    ]  # fmt: skip
    assert script(composed(*given), given, Path("/data/a run/100%"), Path("/home/me")) == WHOLE.format(run=RUN)


def test_fields_that_are_not_given_are_left_to_slurm_and_the_interpreter_is_this_one() -> None:
    given = ["cluster=slurm", "threads=3"]
    text = script(composed(*given), given, Path("/data/run"), Path("/home/me"))
    assert [line for line in text.splitlines() if line.startswith("#SBATCH")] == [
        "#SBATCH --job-name=sparsednn", "#SBATCH --nodes=1", "#SBATCH --ntasks-per-node=1", "#SBATCH --cpus-per-task=3",
        "#SBATCH --chdir=/home/me", "#SBATCH --output=/data/run/slurm-%j.out",
    ]  # fmt: skip
    assert f"srun --cpu-bind=cores {shlex.quote(sys.executable)} " in text


def test_run_py_is_where_the_script_looks_for_it() -> None:
    assert RUN.is_file()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(["cluster=omnipath28", "cluster.nodes=3"], id="the paper's nodes"),
        pytest.param(["cluster=slurm", "threads=2", "cluster.pin=true", "cluster.numa_domains=2"], id="pinned threads"),
        pytest.param(["scheduler=data_then_model", "cluster=slurm", "trace=true", "instances=7", "resume=true"], id="others"),
    ],
)
def test_the_job_runs_the_configuration_that_is_looked_for_with_resume(given: list[str]) -> None:
    config = composed(*given)
    overrides = job_overrides(config, given, Path("/data/run"))
    assert overrides[-1] == "hydra.run.dir=/data/run"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        job = resolve(compose("config", overrides=overrides[:-1]))
    assert as_record(job) == as_record(job_config(config))
    assert job.cluster.name == "local"


def test_a_dry_run_shows_the_script_and_submits_nothing(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "sbatch", f"touch {tmp_path}/called")
    folder = tmp_path / "run"
    done = run(
        tmp_path, *SMALL, "cluster=omnipath28", "cluster.dry_run=true", "cluster.setup=['echo :smile: [bold]']",
        f"hydra.run.dir={folder}", path=tmp_path / "bin",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (folder / "job.sh").read_text()
    assert done.stdout.endswith(f"would be submitted: sbatch --parsable {folder}/job.sh\n{text}")
    assert f"srun --cpu-bind=cores {sys.executable} {RUN} instances=50 layers=6 cluster=local processes=2 threads=14" in text
    assert not (tmp_path / "called").exists()
    assert not (folder / RESULT).exists()


def test_a_sweep_submits_a_job_for_each_point_and_counts_none_as_failed(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "sbatch", f'echo "$@" >> {tmp_path}/calls; wc -l < {tmp_path}/calls | tr -d " "; echo waiting >&2')
    done = run(
        tmp_path, "-m", *SMALL, "threads=1,2", "cluster=slurm", f"hydra.sweep.dir={tmp_path}/sweep", path=tmp_path / "bin"
    )
    assert done.returncode == 0, done.stderr
    records = [left(tmp_path / "sweep" / str(number)) for number in range(2)]
    assert [(record["status"], record["job_id"]) for record in records] == [("submitted", "1"), ("submitted", "2")]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"--parsable {tmp_path}/sweep/{number}/job.sh" for number in range(2)]
    table = done.stdout[done.stdout.rindex("2 points") :]
    assert all(f"submitted: job {number}" in table for number in (1, 2))
    assert "failed" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("sbatch", "message"),
    [
        pytest.param(
            None, "cluster=slurm: sbatch cannot be started here (No such file or directory); start this on", id="none"
        ),
        pytest.param("echo Invalid account >&2; exit 1", "job.sh: Invalid account", id="refused"),
        pytest.param("exit 3", "job.sh: exit code 3", id="refused without a word"),
        pytest.param("exit 0", "sbatch named no job for", id="no id"),
    ],
)
def test_what_cannot_be_submitted_is_one_clear_error(sbatch: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    if sbatch is not None:
        fake(tmp_path / "bin", "sbatch", sbatch)
    done = run(tmp_path, *SMALL, "cluster=slurm", f"hydra.run.dir={tmp_path}/run", path=tmp_path / "bin")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert left(tmp_path / "run")["status"] == "failed"


def test_a_job_leaves_its_own_record_and_resuming_submits_only_the_others(tmp_path: Path) -> None:
    """The job is over before sbatch is; `srun` drops its own options."""
    bin_folder = tmp_path / "bin"
    fake_git(bin_folder)
    fake(bin_folder, "srun", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"')
    fake(bin_folder, "sbatch", 'echo "17;opa"; export SLURM_JOB_ID=17; exec bash "$2" > /dev/null')
    arguments = ["instances=50", "cluster=slurm", "threads=1"]
    done = run(tmp_path, *arguments, "layers=6", path=bin_folder)
    assert done.returncode == 0, done.stderr
    assert "submitted: job 17" in done.stdout
    (path,) = (tmp_path / "outputs").rglob(RESULT)
    record = left(path.parent)
    assert (record["status"], record["threads"], record["config"]["processes"]) == ("complete", 1, 1)
    assert record["environment"]["slurm_job_id"] == "17"
    fake(bin_folder, "sbatch", "echo 18")
    again = run(tmp_path, "-m", *arguments, "layers=6,12", "resume=true", path=bin_folder)
    assert again.returncode == 0, again.stderr
    assert f"resume: the point has a record already: {path.relative_to(tmp_path)}" in again.stdout
    assert again.stdout.count("submitted: job 18, ") == 1
    assert "submitted: job 17" not in again.stdout


def test_an_experiment_submits_its_points_and_is_drawn_when_they_are_done(tmp_path: Path) -> None:
    bin_folder, folder = tmp_path / "bin", tmp_path / "outputs" / "a"
    fake_git(bin_folder)
    fake(bin_folder, "srun", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"')
    fake(bin_folder, "sbatch", f'echo "$2" >> {tmp_path}/jobs; wc -l < {tmp_path}/jobs | tr -d " "')
    layers = "experiment.sweeps=[{name:layers,grid:{layers:[6,12]}}]"
    arguments = ["experiment=linear_cost", layers, "instances=50", "threads=1", "experiment.rounds=1", "cluster=slurm"]
    done = run(tmp_path, *arguments, f"hydra.run.dir={folder}", path=bin_folder)
    assert done.returncode == 0, done.stderr
    assert f"figure: when the jobs are done, python -m experiments.figures linear_cost {folder}" in done.stdout
    assert not (folder / "linear_cost.png").exists()
    jobs = (tmp_path / "jobs").read_text().splitlines()
    assert jobs == [f"{folder}/0/job.sh", f"{folder}/1/job.sh"]
    with pytest.raises(ConfigError, match="all points are submitted, and none has been run yet"):
        read_points("linear_cost", [folder])
    for job in jobs:
        assert started(tmp_path, ["bash", job], bin_folder).returncode == 0
    assert [point.label for point in read_points("linear_cost", [folder]).points] == ["layers=6", "layers=12"]
    drawn = run(tmp_path, *arguments, "resume=true", f"hydra.run.dir={folder}", path=bin_folder)
    assert drawn.returncode == 0, drawn.stderr
    assert (folder / "linear_cost.png").exists()
    assert drawn.stdout.count("resume: the point has a record already") == 2
