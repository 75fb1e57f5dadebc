"""From a configuration to the arguments of `sparsednn.infer` and `sparsednn.simulator.simulate.simulate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.config.resolve import Config
from sparsednn.engine import default_threads
from sparsednn.simulator.cluster import Cluster


def common_arguments(config: Config) -> dict[str, Any]:
    """Return what both take."""
    return {
        "backend": config.backend.name,
        "kernel": config.kernel,
        "scheduler": config.scheduler.name,
        "rows": config.optimize.rows.value,
        "columns": config.optimize.columns.value,
        "order": config.optimize.order.value,
        "full_columns": config.optimize.full_columns,
        "block_rows": config.backend.block_rows,
        "row_order": config.partition.order.value,
        "hashing": config.partition.hashing.value,
        "buckets": config.partition.buckets,
        "split_factor": config.scheduler.split_factor,
        "strategy": config.scheduler.strategy.value,
        "recruiting_ratio": config.scheduler.recruiting_ratio,
        "threshold": config.scheduler.threshold,
        "minimum_work": config.scheduler.minimum_work,
        "calibration": None if config.cluster.calibration is None else Path(config.cluster.calibration),
        "trace": config.trace,
    }


def infer_arguments(config: Config) -> dict[str, Any]:
    """Return what an inference on real threads takes."""
    return common_arguments(config) | {
        "threads": config.threads,
        "repeats": config.repeats,
        "split": config.partition.split.value,
        "rebalance_after": config.rebalance_after,
        "share_network": config.cluster.share_network,
        "residency": config.network.residency.value,
        "pin": config.cluster.pin,
        "numa_domains": config.cluster.numa_domains,
    }


def simulate_arguments(config: Config) -> dict[str, Any]:
    """Return what a simulated one takes; nodes have as many cores as this process may use, unless told otherwise."""
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
