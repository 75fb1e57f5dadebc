"""Builds the record of a simulated inference, whose times are virtual."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.backend import Backend
from sparsednn.backend.description import PlanDescription
from sparsednn.execution.options import InferOptions
from sparsednn.network import Network
from sparsednn.results.measures import balance, rates, worker_records
from sparsednn.results.record import SIMULATED, AutoChoice
from sparsednn.results.result import categories_sha256
from sparsednn.results.simulated_record import SimulatedCluster, SimulatedRun, SimulatedSeconds, TrafficEstimate
from sparsednn.simulator.cluster import ClusterRun, ClusterSimulator, SchedulingChoice
from sparsednn.simulator.tuning import Choice
from sparsednn.system.memory import peak_rss_bytes


def simulated_record(
    network: Network, inputs: sp.csr_array, backend: Backend, described: PlanDescription, options: InferOptions,
    simulator: ClusterSimulator, plan: SchedulingChoice, run: ClusterRun, categories: NDArray[np.int64], profile_s: float,
    choice: Choice | None,
) -> SimulatedRun:  # fmt: skip
    """Return the part of a record that does not depend on where the data came from; `profile_s` is what counting took."""
    cluster, counts = simulator.cluster, np.diff(inputs.indptr)
    workers = [worker for process, line in enumerate(run.timelines) for worker in worker_records(process, line.times)]
    return SimulatedRun(
        neurons=network.n_inputs,
        layers=len(network.layers),
        instances=inputs.shape[0],
        input_nnz=int(inputs.nnz),
        network_nnz=network.nnz,
        backend=backend.name,
        kernel=described.kernel,
        scheduler=plan.scheduler,
        scheduler_options=asdict(plan.options),
        executor=SIMULATED,
        cluster=SimulatedCluster(**asdict(cluster) | {"threads": cluster.n_workers}),
        calibration=simulator.model.calibration.content,
        hashing=options.partition.hashing,
        row_order=options.partition.order,
        processes=cluster.n_processes,
        threads=cluster.n_workers,
        optimizations=described.optimizations,
        exact=described.tolerance is None,
        tolerance=described.tolerance,
        categories_count=len(categories),
        categories_sha256=categories_sha256(categories),
        seconds=SimulatedSeconds(
            load=0.0, profile=profile_s, inference=[run.elapsed_s], inference_median=run.elapsed_s, processes=run.process_s,
            gather=run.gather_s, sample=run.sample_s, sizing=run.sizing_s,
        ),
        **rates(inputs.shape[0] * network.nnz, run.multiply_adds, run.elapsed_s),
        peak_rss_bytes=peak_rss_bytes(),
        imbalance=balance(workers, [float(counts[rows].sum()) for rows in run.partition.groups]),
        workers=workers,
        traffic=_traffic(run, simulator),
        auto=None if choice is None else AutoChoice(reason=choice.reason, predicted_s=choice.predicted),
    )  # fmt: skip


def _traffic(run: ClusterRun, simulator: ClusterSimulator) -> TrafficEstimate | None:
    """The estimate of what the process that has the most to do moves between memory and its last-level cache."""
    traffic = run.traffic
    if traffic is None:
        return None
    rate = simulator.model.calibration.value("assumed", "memory_bytes_per_s")
    return TrafficEstimate(
        **asdict(traffic), from_cache=traffic.from_cache, memory_bytes_per_s=rate, memory_s=traffic.memory_bytes / rate
    )
