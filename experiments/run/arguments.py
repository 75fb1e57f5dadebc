"""Turns a configuration into the arguments of `sparsednn.infer` and `sparsednn.simulator.simulate.simulate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from experiments.config.resolve import Config
from sparsednn.engine import default_threads
from sparsednn.execution.options import GROUPS, InferOptions
from sparsednn.options.fields import declarations


def options_of(config: Config) -> InferOptions:
    """Return the library's options: each of its groups is one of the configuration's, or stands at its top."""
    groups = {}
    for name, options in GROUPS.items():
        given = getattr(config, name, config)
        groups[name] = options(**{option: getattr(given, option) for option in declarations(options)})
    return InferOptions(**groups)  # type: ignore[arg-type]


def common_arguments(config: Config) -> dict[str, Any]:
    """Return what both take."""
    return {
        "backend": config.backend.name,
        "kernel": config.kernel,
        "scheduler": config.scheduler.name,
        "options": options_of(config),
    }


def infer_arguments(config: Config) -> dict[str, Any]:
    """Return what an inference on real threads takes."""
    return common_arguments(config) | {"threads": config.threads}


def simulate_arguments(config: Config) -> dict[str, Any]:
    """Return what a simulated one takes; nodes have as many cores as this process may use, unless told otherwise."""
    from sparsednn.simulator.cluster import Cluster  # real runs need no simulator

    cluster = config.cluster
    machines = Cluster(
        nodes=cluster.nodes,
        processes_per_node=cluster.processes_per_node,
        cores_per_node=cluster.cores_per_node or default_threads(),
        threads=config.threads,
        numa_domains=cluster.numa_domains or 1,
        slow_core=cluster.slow_core,
        noisy_node=cluster.noisy_node,
        seed=config.seed,
        assume={name: value for name, value in asdict(cluster.assume).items() if value is not None},
    )
    return common_arguments(config) | {"cluster": machines, "n_threads": default_threads()}
