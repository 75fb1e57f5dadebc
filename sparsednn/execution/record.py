"""What is kept of an inference: its record and its trace."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sparsednn.execution.prepared_run import Inference, Run
from sparsednn.network import Network
from sparsednn.results.measures import imbalance, rates, worker_records
from sparsednn.results.result import SCHEMA_VERSION, categories_sha256
from sparsednn.system.memory import peak_rss_bytes

if TYPE_CHECKING:
    from sparsednn.results.trace import Trace

PROCESS_FIELDS = (
    "process", "host", "process_id", "instances", "inference_s", "idle_s", "exchange_s", "multiply_adds", "peak_rss_bytes",
    "pss_bytes",
)  # fmt: skip


def process_records(run: Run, load_s: float) -> list[dict[str, Any]]:
    """Return what each process did, by rank; `load_s` is what loading took so far."""
    return [{name: one[name] for name in PROCESS_FIELDS} | {"load_s": load_s} for one in run.processes]


def trace_of(job: Inference, run: Run) -> Trace | None:
    """Return what each worker did when, if the run was traced; on rank 0 those of all processes."""
    if not job.options.run.trace:
        return None
    from sparsednn.results.trace import Trace

    kernel = job.backend.describe(job.stages[0].plan)["kernel"]
    return Trace(run.all("spans"), {"scheduler": job.scheduler.name, "kernel": kernel, "simulated": False})


def record_of(
    job: Inference, network: Network, run: Run, seconds: dict[str, Any], n_threads: int, layer_nnz: float, choice: Any
) -> dict[str, Any]:  # fmt: skip
    """Return the part of a record that does not depend on where the data came from."""
    options, backend, scheduler = job.options, job.backend, job.scheduler
    described = backend.describe(job.stages[0].plan)
    apart: dict[str, Any] = {name: described.pop(name) for name in ("stream", "device") if name in described}
    n_instances = job.share.n_instances
    workers = [worker for one in run.processes for worker in worker_records(one["process"], one["times"])]
    multiply_adds = sum(one["multiply_adds"] for one in run.processes)
    return {
        "schema_version": SCHEMA_VERSION,
        "status": "complete",
        "neurons": network.n_inputs,
        "layers": len(network.layers),
        "instances": n_instances,
        "input_nnz": int(sum(one["input_nnz"] for one in run.processes)),
        "network_nnz": network.nnz,
        "backend": backend.name,
        "kernel": described.pop("kernel"),
        "scheduler": scheduler.name,
        "scheduler_options": asdict(scheduler.options),
        "executor": job.executor.name,
        "hashing": options.partition.hashing,
        "row_order": options.partition.order,
        "split": options.partition.split,
        "rebalance_after": options.run.rebalance_after,
        "processes": len(run.processes),
        "optimizations": described,
        "categories_count": len(run.categories),
        "categories_sha256": categories_sha256(run.categories),
        "truth": {"checked": False, "source": None, "match": None},
        "seconds": seconds,
        **rates(n_instances * network.nnz, multiply_adds, seconds["inference_median"]),
        "peak_rss_bytes": peak_rss_bytes(),
        "imbalance": {
            **imbalance([worker["busy_s"] for worker in workers], run.all("group_nnz")),
            "layer_nnz": layer_nnz,
        },
        "workers": workers,
        "process_records": process_records(run, seconds["load"]),
        "threads": n_threads,
        **({} if choice is None else {"auto": choice.record}),
        **apart,
    }
