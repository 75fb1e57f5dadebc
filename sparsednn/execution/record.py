"""Builds the record and the trace of an inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sparsednn.execution.prepared_run import Inference, Repeat
from sparsednn.network import NetworkOutline
from sparsednn.results.measures import balance, rates, worker_records
from sparsednn.results.record import AutoChoice, MeasuredRun, MeasuredSeconds, ProcessRecord
from sparsednn.results.result import categories_sha256
from sparsednn.system.json_fields import declared
from sparsednn.system.memory import peak_rss_bytes

if TYPE_CHECKING:
    from sparsednn.results.trace import Trace


def process_records(run: Repeat, load_s: float) -> list[ProcessRecord]:
    """Return what each process did, by rank; `load_s` is what loading took so far."""
    names = [one.name for one in declared(ProcessRecord)]
    return [ProcessRecord(**{name: one[name] for name in names if name in one}, load_s=load_s) for one in run.processes]


def trace_of(job: Inference, run: Repeat) -> Trace | None:
    """Return what each worker did when, if the run was traced; on rank 0 those of all processes."""
    if not job.options.run.trace:
        return None
    from sparsednn.results.trace import Trace

    kernel = job.backend.describe(job.stages[0].plan).kernel
    return Trace(run.all("spans"), {"scheduler": job.scheduler.name, "kernel": kernel, "simulated": False})


def record_of(
    job: Inference, network: NetworkOutline, run: Repeat, seconds: Mapping[str, Any], n_threads: int, layer_nnz: float,
    auto: AutoChoice | None,
) -> MeasuredRun:  # fmt: skip
    """Return the part of a record that does not depend on where the data came from."""
    options, scheduler, times = job.options, job.scheduler, MeasuredSeconds(**seconds)
    described, tolerance = job.backend.describe(job.stages[0].plan), _tolerance(job)
    workers = [worker for one in run.processes for worker in worker_records(one["process"], one["times"])]
    multiply_adds = sum(one["multiply_adds"] for one in run.processes)
    return MeasuredRun(
        neurons=network.n_inputs,
        layers=network.n_layers,
        instances=job.share.n_instances,
        input_nnz=int(sum(one["input_nnz"] for one in run.processes)),
        network_nnz=network.nnz,
        backend=job.backend.name,
        kernel=described.kernel,
        scheduler=scheduler.name,
        scheduler_options=asdict(scheduler.options),
        executor=job.executor.name,
        hashing=options.partition.hashing,
        row_order=options.partition.order,
        split=options.partition.split,
        rebalance_after=options.run.rebalance_after,
        processes=len(run.processes),
        threads=n_threads,
        optimizations=described.optimizations,
        exact=tolerance is None,
        tolerance=tolerance,
        categories_count=len(run.categories),
        categories_sha256=categories_sha256(run.categories),
        seconds=times,
        **rates(job.share.n_instances * network.nnz, multiply_adds, times.inference_median),
        peak_rss_bytes=peak_rss_bytes(),
        imbalance=balance(workers, run.all("group_nnz"), layer_nnz),
        workers=workers,
        process_records=process_records(run, times.load),
        auto=auto,
        stream=described.stream,
        device=described.device,
    )


def _tolerance(job: Inference) -> float | None:
    """How far outputs may be from exact ones after all stages; None if all have the one order of additions."""
    found = [job.backend.describe(stage.plan).tolerance for stage in job.stages]
    return sum(tolerance for tolerance in found if tolerance is not None) or None
