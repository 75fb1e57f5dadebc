"""What records say of a run: rates, workers, balance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from sparsednn.network import Network
from sparsednn.results.worker_times import WorkerTimes
from sparsednn.rows.partition import even_bounds


def rates(nominal_edges: int, multiply_adds: int, seconds: float) -> dict[str, Any]:
    """Return the nominal rate (instances x connections / s), and the multiply-adds really done and their rate."""
    seconds = max(seconds, 1e-9)
    return {
        "nominal_edges_per_second": nominal_edges / seconds,
        "performed_edges": multiply_adds,
        "performed_edges_per_second": multiply_adds / seconds,
    }


def worker_records(process: int, times: list[WorkerTimes]) -> list[dict[str, Any]]:
    """Return a record for each worker of a process, by thread."""
    records = [{"process": process, "thread": t.worker} | asdict(t) for t in times]
    for record in records:
        del record["worker"]
    return records


def imbalance(busy_s: list[float], group_nnz: list[float]) -> dict[str, float]:
    """Largest over mean: of the workers' busy times, and of the input's nonzeros in the row groups. 1 is perfect balance."""
    return {"busy": _largest_over_mean(busy_s), "input_nnz": _largest_over_mean(group_nnz)}


SPREAD_OF = ("load_s", "inference_s", "idle_s")
"""Times of processes of which records say how they spread."""


def spread(processes: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return min, max, mean and spread (largest over mean) of the times of all processes."""
    found = {}
    for name in SPREAD_OF:
        values = [process[name] for process in processes]
        mean = sum(values) / len(values)
        found[name] = {"min": min(values), "max": max(values), "mean": mean, "spread": _largest_over_mean(values)}
    return found


def add_load_times(record: dict[str, Any], load_s: list[float] | None) -> None:
    """Add what loading took before an inference, on each process by rank, to its record; None on other ranks than 0."""
    if load_s is None:
        return
    record["seconds"]["load"] += load_s[0]
    if "process_records" in record:  # simulated processes load nothing
        for process, seconds in zip(record["process_records"], load_s, strict=True):
            process["load_s"] += seconds
        record["process_times"] = spread(record["process_records"])


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
