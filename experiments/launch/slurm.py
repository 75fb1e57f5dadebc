"""Submits a point as a Slurm job for ``cluster=slurm``; the job runs the same configuration on the cluster's nodes.

The script is written here and not by submitit, whose tasks each load a pickled function: tasks of this job are the MPI
processes of one ``run.py``, and ``cluster.dry_run=true`` shows all that they will be told.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from experiments.config.overrides import override
from experiments.config.resolve import Config, ConfigError
from experiments.config.schema import ClusterConfig
from experiments.config.slurm_rules import FIELDS, SIZES, n_processes, n_threads

SCRIPT, LOG = "job.sh", "slurm-%j.out"
RUN = Path(__file__).parents[2] / "run.py"
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ONLY_HERE = ("name", "mpiexec", *SIZES, *FIELDS)
_REPLACED = ("cluster", "hydra", "threads", "processes", "resume")


def job_config(config: Config) -> Config:
    """Return the configuration that the job runs: the processes and threads that it asks for, on the machines that it gets."""
    alone = ClusterConfig()
    cluster = dataclasses.replace(config.cluster, **{name: getattr(alone, name) for name in _ONLY_HERE})
    return dataclasses.replace(
        config, cluster=cluster, processes=n_processes(config.cluster), threads=n_threads(config), resume=False
    )


def job_overrides(config: Config, given: Iterable[str], folder: Path) -> list[str]:
    """Return what run.py is told in the job: the user's overrides, but for what concerns the cluster, and the job's own."""
    kept = [text for text in given if re.split(r"[./=@]", text.lstrip("+~"))[0] not in _REPLACED]
    job, alone = job_config(config), ClusterConfig()
    own: dict[str, Any] = {"cluster": "local", "processes": job.processes, "threads": job.threads}
    for f in dataclasses.fields(ClusterConfig):
        value = getattr(job.cluster, f.name)
        if value != getattr(alone, f.name):
            own[f"cluster.{f.name}"] = value
    return [*kept, *(override(key, value) for key, value in {**own, "hydra.run.dir": str(folder)}.items())]


def script(config: Config, given: Iterable[str], folder: Path, here: Path) -> str:
    """Return the text of the job.

    Parameters
    ----------
    config : Config
        With a cluster under Slurm.
    given : strings
        The user's own overrides.
    folder : Path
        Where the job's results and its output go.
    here : Path
        The folder that relative paths are relative to.
    """
    threads, cluster = n_threads(config), config.cluster
    command = [cluster.python or sys.executable, str(RUN), *job_overrides(config, given, folder)]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {argument}" for argument in _arguments(cluster, threads, folder, here)),
        "set -e",
        *cluster.setup,
        *(f"export {name}={threads}" for name in THREAD_LIMITS),
        f"export SRUN_CPUS_PER_TASK={threads}",  # since Slurm 22.05 srun does not take it from the job
        shlex.join(["srun", *cluster.srun_arguments, *command]),
    ]
    return "\n".join(lines) + "\n"


def write_script(config: Config, given: Iterable[str], folder: Path) -> Path:
    """Write the job into a point's folder; return where it is."""
    path = folder / SCRIPT
    path.write_text(
        script(config, given, folder, Path.cwd()), encoding="utf-8", errors="surrogateescape"
    )  # names of folders are bytes
    return path


def sbatch(path: Path) -> str:
    """Submit a job; return its id.

    Raises
    ------
    ConfigError
        If there is no Slurm here, or it refuses the job.
    """
    try:
        done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(
            f"cluster=slurm: sbatch cannot be started here ({error.strerror}); start this on a login node of the "
            "cluster, or see what would be submitted with cluster.dry_run=true"
        ) from error
    said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    if done.returncode != 0:
        raise ConfigError(f"cluster=slurm: sbatch refused {path}: {said}")
    job_id = done.stdout.strip().partition(";")[0]
    if not job_id:
        raise ConfigError(f"cluster=slurm: sbatch named no job for {path}; see squeue whether there is one")
    return job_id


def _arguments(cluster: ClusterConfig, threads: int, folder: Path, here: Path) -> Iterator[str]:
    """Yield the arguments of sbatch."""
    yield f"--job-name={cluster.job_name}"
    yield f"--nodes={cluster.nodes}"
    yield f"--ntasks-per-node={cluster.processes_per_node}"
    yield f"--cpus-per-task={threads}"
    values = {"time": cluster.time_limit, "partition": cluster.partition, "account": cluster.account, "mem": cluster.memory}
    for name, value in values.items():
        if value is not None:
            yield f"--{name}={value}"
    yield from cluster.sbatch_arguments
    yield f"--chdir={_quoted(here)}"
    yield f"--output={_quoted(str(folder).replace('%', '%%') + '/' + LOG)}"


def _quoted(path: object) -> str:
    """sbatch reads its lines with quotes much like a shell, but without expanding anything."""
    text = str(path)
    return text if re.fullmatch(r"[\w./%+,:@-]+", text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
