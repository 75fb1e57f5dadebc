"""Computes the measures of a record: rates, workers' times, balance."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from sparsednn.network import NetworkOutline
from sparsednn.results.record import Balance, MeasuredRun, ProcessRecord, ProcessTimes, RunRecord, Spread
from sparsednn.results.worker_times import WorkerFigures, WorkerRecord, WorkerTimes
from sparsednn.rows.partition import even_bounds
from sparsednn.system.json_fields import declared


class Rates(TypedDict):
    """Fields of a `RunRecord` that say how fast it was."""

    nominal_edges_per_second: float
    performed_edges: int
    performed_edges_per_second: float


def rates(nominal_edges: int, multiply_adds: int, seconds: float) -> Rates:
    """Return the nominal rate (instances x connections / s), and the multiply-adds really done and their rate."""
    seconds = max(seconds, 1e-9)
    return {
        "nominal_edges_per_second": nominal_edges / seconds,
        "performed_edges": multiply_adds,
        "performed_edges_per_second": multiply_adds / seconds,
    }


def worker_records(process: int, times: list[WorkerTimes]) -> list[WorkerRecord]:
    """Return a record for each worker of a process, by thread."""
    names = [one.name for one in declared(WorkerFigures)]
    return [WorkerRecord(process=process, thread=t.worker, **{name: getattr(t, name) for name in names}) for t in times]


def balance(workers: list[WorkerRecord], group_nnz: list[float], layer_nnz: float | None = None) -> Balance:
    """Return how even the workers' busy times are, and the input's nonzeros in the row groups; see `column_imbalance`."""
    busy_s = [worker.busy_s for worker in workers]
    return Balance(busy=_largest_over_mean(busy_s), input_nnz=_largest_over_mean(group_nnz), layer_nnz=layer_nnz)


def process_times(processes: list[ProcessRecord]) -> ProcessTimes:
    """Return how the times of all processes spread."""
    return ProcessTimes(
        load_s=_spread([one.load_s for one in processes]),
        inference_s=_spread([one.inference_s for one in processes]),
        idle_s=_spread([one.idle_s for one in processes]),
    )


def _spread(values: list[float]) -> Spread:
    mean = sum(values) / len(values)
    return Spread(min=min(values), max=max(values), mean=mean, spread=_largest_over_mean(values))


def add_load_times(record: RunRecord, load_s: list[float] | None) -> None:
    """Add what loading took before an inference, on each process by rank, to its record; None on other ranks than 0."""
    if load_s is None:
        return
    record.seconds.load += load_s[0]
    if isinstance(record, MeasuredRun):  # simulated processes load nothing
        for process, seconds in zip(record.process_records, load_s, strict=True):
            process.load_s += seconds
        record.process_times = process_times(record.process_records)


def column_imbalance(network: NetworkOutline, n_workers: int) -> float:
    """Return largest over mean of the connections that workers get of a layer's columns, averaged over the layers.

    Model parallelism would have this imbalance if it cut columns by their number, into contiguous ranges.
    """
    ratios = [_largest_over_mean(np.diff(ends[even_bounds(len(ends) - 1, n_workers)]).tolist()) for ends in network.ends]
    return sum(ratios) / len(ratios)


def _largest_over_mean(values: list[float]) -> float:
    mean = sum(values) / max(len(values), 1)
    return max(values) / mean if mean > 0 else 1.0
