"""What records say of a run: rates, workers, balance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsednn.comm import Communicator
from sparsednn.executors import WorkerTimes
from sparsednn.network import Network
from sparsednn.partition import Partition, even_bounds


def rates(nominal_edges: int, multiply_adds: int, seconds: float) -> dict[str, Any]:
    """Return the nominal rate (instances x connections / s), and the multiply-adds really done and their rate."""
    seconds = max(seconds, 1e-9)
    return {
        "nominal_edges_per_second": nominal_edges / seconds,
        "performed_edges": multiply_adds,
        "performed_edges_per_second": multiply_adds / seconds,
    }


def worker_records(comm: Communicator, times: list[WorkerTimes]) -> list[dict[str, Any]]:
    """Return a record for each worker of all processes, by rank and thread; on ranks other than 0, none."""
    mine = [{"process": comm.rank, "thread": t.worker} | asdict(t) for t in times]
    for worker in mine:
        del worker["worker"]
    gathered = comm.gather(mine)
    return [worker for process in gathered or [] for worker in process]


def imbalance(times: list[WorkerTimes], partition: Partition, inputs: sp.csr_array) -> dict[str, float]:
    """Largest over mean: of the workers' busy times, and of the input's nonzeros in the row groups. 1 is perfect balance."""
    counts = np.diff(inputs.indptr)
    return {
        "busy": _largest_over_mean([t.busy_s for t in times]),
        "input_nnz": _largest_over_mean([float(counts[group.rows].sum()) for group in partition.groups]),
    }


def column_imbalance(network: Network, n_workers: int) -> float:
    """Return largest over mean of the connections that workers get of a layer's columns, averaged over the layers.

    What model parallelism would see if it cut columns by their number, into contiguous ranges.
    """
    ratios = [
        _largest_over_mean(np.diff(layer.indptr[even_bounds(layer.n_outputs, n_workers)]).tolist()) for layer in network.layers
    ]
    return sum(ratios) / len(ratios)


def _largest_over_mean(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return max(values) / mean if mean > 0 else 1.0
