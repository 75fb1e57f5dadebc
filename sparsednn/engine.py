"""Inference: puts partition, scheduler, executor and backend together."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.auto import AUTO, choose_for
from sparsednn.backend import (
    Backend,
    Control,
    GroupResult,
    kernel_name,
    load_backend,
    require_schedulable,
    workers_of,
)
from sparsednn.choices import unknown
from sparsednn.executors import ThreadExecutor
from sparsednn.hashing import hash_neurons
from sparsednn.inputs import canonical_inputs
from sparsednn.machine import worker_domains
from sparsednn.measures import column_imbalance, imbalance, rates, worker_records
from sparsednn.memory import peak_rss_bytes
from sparsednn.network import Network
from sparsednn.options import InferOptions, infer_options
from sparsednn.partition import Partition, alive_first, hashed_order, largest_group, split_evenly
from sparsednn.result import SCHEMA_VERSION, Result, categories_sha256
from sparsednn.schedulers import SCHEDULERS, Job, Scheduler, SchedulerOptions
from sparsednn.tasks import GroupTasks, Prepared
from sparsednn.trace import Span, Trace


def infer(
    network: Network,
    inputs: Any,
    backend: str | Backend = "numba",
    kernel: str = "auto",
    scheduler: str | Scheduler = "data",
    threads: int | None = None,
    output: bool = False,
    **options: Any,
) -> Result:
    """Run inference of a sparse network on a batch of inputs.

    Parameters
    ----------
    network : Network
    inputs : scipy.sparse matrix of any format, or NumPy array; shape (instances, network.n_inputs)
        Converted to float32.
    backend : str or Backend
        The name of an installed backend, or an object of your own.
    kernel : str
        One of the backend's kernels; "auto" lets the backend choose.
    scheduler : str or Scheduler
        The name of a scheduler, "auto" to have the simulator choose one with its parameters, or an object of your own.
    threads : int, optional
        Worker threads, or threads of the library where the backend brings its own; as many as this process may use cores,
        unless given.
    output : bool
        Also return the last activations.
    **options
        See `InferOptions`.

    Returns
    -------
    Result
        With ``.categories`` (1-based ids, ascending), ``.output`` (csr_array, if asked for) and ``.record``.

    Raises
    ------
    TypeError
        For an unknown option or an input that is no matrix.
    ValueError
        For a shape that does not match, NaN or infinite inputs, or an unknown name; the message has the legal ones.
    MemoryError
        If the network does not fit in the kernel's layout.
    FloatingPointError
        If activations have overflowed float32.
    """
    opts = infer_options(options)
    n_threads = default_threads() if threads is None else operator.index(threads)
    if n_threads < 1:
        raise ValueError(f"threads={n_threads}: at least 1 is needed")
    backend = load_backend(backend) if isinstance(backend, str) else backend
    kernel = kernel_name(backend, kernel)
    if isinstance(scheduler, str) and scheduler != AUTO:
        require_schedulable(backend, kernel, scheduler, SCHEDULERS)
        make_scheduler(scheduler, opts.scheduler_options)  # refuse what cannot be before anything is loaded
    kernel_options = opts.kernel_options(kernel)
    n_workers = workers_of(backend, n_threads, opts.pin)
    started_at = perf_counter()
    rows = canonical_inputs(inputs, network.n_inputs)
    loaded_at = perf_counter()
    choice = None
    if scheduler == AUTO:
        choice, opts = choose_for(network, rows, backend, kernel_options, n_threads, opts)
        scheduler = choice.scheduler
    if isinstance(scheduler, str):
        scheduler = make_scheduler(scheduler, opts.scheduler_options)
    chosen_at = perf_counter()
    as_run, rows = hash_neurons(network, rows, opts.buckets) if opts.hashes_neurons else (network, rows)
    layer_nnz = column_imbalance(as_run, n_workers)
    hashed_at = perf_counter()
    plan = backend.prepare(as_run, kernel_options, n_threads)
    del as_run  # the plan has a copy of its own
    prepared_at = perf_counter()
    backend.warm_up(plan, largest_group(rows.shape[0], scheduler.n_row_groups(n_workers), backend.row_unit(plan)))
    compiled_at = perf_counter()
    job = _Inference(backend, plan, scheduler, network, rows, n_workers, output, opts)
    if opts.row_order == "alive_first":
        job.row_order = alive_first(job.run().categories, job.n_rows)
    runs = [job.run() for _ in range(opts.repeats)]
    seconds = {
        "load": loaded_at - started_at,
        "choose": chosen_at - loaded_at,
        "hash": hashed_at - chosen_at,
        "prepare": prepared_at - hashed_at,
        "compile": compiled_at - prepared_at,
        "inference": [run.seconds for run in runs],
        "inference_median": median(run.seconds for run in runs),
    }
    last = runs[-1]
    record = job.record(last, seconds)
    record["threads"] = n_threads
    record["imbalance"]["layer_nnz"] = layer_nnz
    if choice is not None:
        record["auto"] = choice.record
    return Result(last.categories, last.output, record, job.trace(last))


def default_threads() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def make_scheduler(name: str, options: SchedulerOptions) -> Scheduler:
    """Return a new scheduler by name, or raise ValueError naming the legal ones."""
    if name not in SCHEDULERS:
        raise ValueError(unknown("scheduler", name, [*SCHEDULERS, AUTO]))
    return SCHEDULERS[name](options)


@dataclass(frozen=True, slots=True)
class _Run:
    """One repeat: its seconds, results and workers."""

    seconds: float
    categories: NDArray[np.int64]
    output: sp.csr_array | None
    multiply_adds: int
    workers: list[dict[str, Any]]
    imbalance: dict[str, float]
    spans: list[Span]


class _Inference:
    """A prepared inference that can be run again and again."""

    def __init__(
        self,
        backend: Backend,
        plan: Any,
        scheduler: Scheduler,
        network: Network,
        inputs: sp.csr_array,
        n_workers: int,
        output: bool,
        options: InferOptions,
    ) -> None:
        self.backend, self.plan, self.scheduler, self.network = backend, plan, scheduler, network
        self.inputs, self.output, self.options = inputs, output, options
        self.n_rows = inputs.shape[0]
        self.prepared = Prepared(backend, plan, inputs, len(network.layers), output)
        self.executor = ThreadExecutor(n_workers, pin=options.pin, trace=options.trace, process=options.communicator.rank)
        self.domains = worker_domains(n_workers, options.pin, options.numa_domains)
        self.row_order: NDArray[np.int64] | None = None

    def run(self) -> _Run:
        """Run it once; the clock is on from the input in memory until the categories are known."""
        comm = self.options.communicator
        comm.barrier()
        started_at = perf_counter()
        order = self.row_order
        if self.options.hashes_rows:
            hashed = hashed_order(self.n_rows, self.options.buckets)
            order = hashed if order is None else order[hashed]
        n_groups = self.scheduler.n_row_groups(self.executor.n_workers)
        partition = split_evenly(self.n_rows, n_groups, order, self.backend.row_unit(self.plan))
        control = Control.for_workers(self.executor.n_workers)
        tasks = GroupTasks(self.prepared, partition, control, default_threads(), trace=self.options.trace)
        job = Job(self.executor.n_workers, len(partition.groups), len(self.network.layers), self.domains)
        timeline = self.executor.run(self.scheduler, job, tasks, self._watch(control))
        results = tasks.finished()
        sums = _in_order(partition, [result.sums for result in results])
        _require_finite(sums)
        categories = np.flatnonzero(sums > 0).astype(np.int64) + 1
        seconds = perf_counter() - started_at
        return _Run(
            seconds,
            categories,
            _output_in_order(partition, results) if self.output else None,
            sum(result.multiply_adds for result in results),
            worker_records(comm, timeline.times),
            imbalance(timeline.times, partition, self.inputs),
            [span for spans in comm.gather(timeline.spans) or [] for span in spans],
        )

    def trace(self, run: _Run) -> Trace | None:
        """Return what each worker did when, if the run was traced."""
        if not self.options.trace:
            return None
        kernel = self.backend.describe(self.plan)["kernel"]
        return Trace(run.spans, {"scheduler": self.scheduler.name, "kernel": kernel, "simulated": False})

    def record(self, run: _Run, seconds: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a record that does not depend on where the data came from."""
        described = self.backend.describe(self.plan)
        streamed = {"stream": described.pop("stream")} if "stream" in described else {}
        return {
            "schema_version": SCHEMA_VERSION,
            "status": "complete",
            "neurons": self.network.n_inputs,
            "layers": len(self.network.layers),
            "instances": self.n_rows,
            "input_nnz": int(self.inputs.nnz),
            "network_nnz": self.network.nnz,
            "backend": self.backend.name,
            "kernel": described.pop("kernel"),
            "scheduler": self.scheduler.name,
            "scheduler_options": asdict(self.scheduler.options),
            "executor": self.executor.name,
            "hashing": self.options.hashing,
            "row_order": self.options.row_order,
            "processes": self.options.communicator.size,
            "optimizations": described,
            "categories_count": len(run.categories),
            "categories_sha256": categories_sha256(run.categories),
            "truth": {"checked": False, "source": None, "match": None},
            "seconds": seconds,
            **rates(self.n_rows * self.network.nnz, run.multiply_adds, seconds["inference_median"]),
            "peak_rss_bytes": peak_rss_bytes(),
            "imbalance": run.imbalance,
            "workers": run.workers,
            **streamed,
        }

    def _watch(self, control: Control) -> Callable[[], None] | None:
        progress, total = self.options.progress, self.n_rows * len(self.network.layers)
        if progress is None:
            return None
        return lambda: progress(int(control.progress[:, 0].sum()), total)


def _in_order(partition: Partition, parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.zeros(partition.n_rows)
    for group, part in zip(partition.groups, parts, strict=True):
        values[group.rows] = part
    return values


def _output_in_order(partition: Partition, results: list[GroupResult]) -> sp.csr_array:
    stacked = sp.csr_array(sp.vstack([result.output for result in results], format="csr"))
    ids = np.concatenate([group.rows for group in partition.groups])
    if (np.diff(ids) > 0).all():
        return stacked
    return stacked[np.argsort(ids)]


def _require_finite(sums: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(~np.isfinite(sums))
    if bad.size:
        raise FloatingPointError(
            f"instance {bad[0] + 1}: the last activations are not finite; they have overflowed float32 on the way "
            "(clipped_relu(max) bounds them)"
        )
