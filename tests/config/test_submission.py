"""Clusters under Slurm: what a configuration may ask of them."""

from __future__ import annotations

import os

import pytest

from experiments.config.resolve import ConfigError
from experiments.config.slurm_rules import n_processes, n_threads, submits
from tests.config.test_resolve import composed

PAPER = "cluster=omnipath28"


@pytest.mark.parametrize(
    ("overrides", "processes", "threads"),
    [
        pytest.param([PAPER], 2, 14, id="both processors of a node"),
        pytest.param([PAPER, "cluster.nodes=16"], 32, 14, id="all nodes"),
        pytest.param([PAPER, "cluster.processes_per_node=28"], 28, 1, id="a process on each core"),
        pytest.param([PAPER, "threads=3"], 2, 3, id="the user's own threads"),
        pytest.param(["cluster=slurm", "cluster.nodes=3", "threads=8"], 3, 8, id="nodes of unknown size"),
        pytest.param(["cluster=slurm"], 1, len(os.sched_getaffinity(0)), id="a node like this machine"),
    ],
)
def test_a_job_has_as_many_processes_and_threads_as_the_nodes_have_room_for(
    overrides: list[str], processes: int, threads: int
) -> None:
    config = composed(*overrides)
    assert submits(config)
    assert (n_processes(config.cluster), n_threads(config)) == (processes, threads)


def test_a_simulated_cluster_is_not_submitted() -> None:
    config = composed(PAPER, "executor=simulated", "cluster.nodes=16")
    assert not submits(config)
    assert (config.cluster.nodes, config.cluster.cores_per_node) == (16, 28)
    assert not submits(composed())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param([PAPER, "cluster.nodes=17"], "cluster.nodes=17: the cluster has cluster.max_nodes=16", id="nodes"),
        pytest.param([PAPER, "executor=simulated", "cluster.nodes=17"], "cluster.nodes=17: ", id="simulated nodes"),
        pytest.param(
            [PAPER, "cluster.processes_per_node=3"],
            "processes_per_node=3: does not divide .*=28; legal: 1, 2, 4, 7, 14, 28, or",
            id="cores that are not shared evenly",
        ),
        pytest.param([PAPER, "threads=15"], "threads=15: 2 processes of so many threads do not fit on", id="threads"),
        pytest.param([PAPER, "processes=3"], "processes=3: a job has cluster.nodes=1 x .*=2 processes", id="processes"),
        pytest.param([PAPER, "cluster.partition='a b'"], "cluster.partition='a b': .* one word", id="two words"),
        pytest.param([PAPER, "cluster.account=''"], "cluster.account='': .* one word", id="no word"),
        pytest.param([PAPER, "cluster.slow_core=2"], "cluster.slow_core=2.0: only for executor=simulated", id="straggler"),
        pytest.param(["cluster=slurm", "cluster.max_nodes=0"], "cluster.max_nodes=0: must be at least 1", id="no nodes"),
        pytest.param(
            [PAPER, "executor=simulated", "cluster.dry_run=true"], "cluster.dry_run=true: .* submits nothing", id="simulated"
        ),
        pytest.param(
            ["cluster.partition=x"], "cluster.partition=x: is only for cluster=slurm", id="a partition of this machine"
        ),
        pytest.param(["cluster.dry_run=true"], "cluster.dry_run=true: is only for cluster=slurm", id="a dry run here"),
    ],
)
def test_what_does_not_go_with_a_cluster_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed(*overrides)
