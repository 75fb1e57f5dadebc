"""Checks whether a run can be submitted to Slurm and sizes its job: pure, and without Slurm."""

from __future__ import annotations

import dataclasses

from experiments.config.schema import SIMULATED, ClusterConfig, Config, Submission
from sparsednn.system.cores import usable_cores

SLURM = "slurm"


FIELDS = tuple(f.name for f in dataclasses.fields(Submission))
"""Fields that only say how a job is submitted."""

SIZES = ("nodes", "cores_per_node", "processes_per_node")
"""Fields that say how large the cluster is: a simulated one, or the part of one that a job asks for."""


def submits(config: Config) -> bool:
    """Whether a run is handed to Slurm; a simulated cluster is simulated here, whatever its name."""
    return config.cluster.name == SLURM and config.executor != SIMULATED


def n_processes(cluster: ClusterConfig) -> int:
    """Return how many processes a job starts."""
    return cluster.nodes * cluster.processes_per_node


def n_cores(cluster: ClusterConfig) -> int:
    """Return the cores of a node: if nobody says, it is taken to be like this machine."""
    return cluster.cores_per_node or usable_cores()


def n_threads(config: Config) -> int:
    """Return how many threads each process of a job has; the configuration has passed `refusal`."""
    return config.threads or n_cores(config.cluster) // config.cluster.processes_per_node


def refusal(config: Config) -> str | None:
    """Return in one line why a configuration does not go with a cluster under Slurm, or None if it does."""
    cluster = config.cluster
    if cluster.max_nodes is not None and cluster.nodes > cluster.max_nodes:
        return f"cluster.nodes={cluster.nodes}: the cluster has cluster.max_nodes={cluster.max_nodes}; ask for fewer"
    if not submits(config):
        simulated = cluster.name == SLURM and cluster.dry_run
        return "cluster.dry_run=true: executor=simulated submits nothing; leave it out" if simulated else None
    for name in ("partition", "account", "time_limit", "memory", "job_name"):
        value = getattr(cluster, name)
        if value is not None and (not value or value.split() != [value]):
            return f"cluster.{name}={value!r}: goes into a line of sbatch, so it needs one word"
    return _refused_size(config)


def _refused_size(config: Config) -> str | None:
    """Say what does not fit into a node, or into the processes that a job starts."""
    cluster, threads, processes = config.cluster, config.threads, config.processes
    per_node, cores = cluster.processes_per_node, n_cores(cluster)
    if processes is not None and processes != n_processes(cluster):
        return (
            f"processes={processes}: a job has cluster.nodes={cluster.nodes} x cluster.processes_per_node={per_node} "
            "processes; leave processes out"
        )
    if threads is not None:
        if cluster.cores_per_node is not None and threads * per_node > cores:
            return f"threads={threads}: {per_node} processes of so many threads do not fit on cluster.cores_per_node={cores}"
        return None
    if cores % per_node:
        legal = ", ".join(str(n) for n in range(1, cores + 1) if cores % n == 0)
        return (
            f"cluster.processes_per_node={per_node}: does not divide cluster.cores_per_node={cores}; legal: {legal}, "
            "or say threads=N"
        )
    return None
