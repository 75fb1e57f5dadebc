"""Inference: puts partition, scheduler, executor and backend together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import canonical_inputs
from sparsednn.arguments.scalars import flag, whole_number
from sparsednn.backend import (
    Backend,
    DeviceBackend,
    KernelOptions,
    kernel_name,
    load_backend,
    require_schedulable,
    workers_of,
)
from sparsednn.errors import OptionError, SchedulerInUseError, unknown
from sparsednn.execution.prepared_run import Inference, Stage, stages_of
from sparsednn.execution.record import record_of, trace_of
from sparsednn.network import Network
from sparsednn.options import InferOptions, infer_options, require_types
from sparsednn.results.measures import column_imbalance
from sparsednn.results.result import Result
from sparsednn.rows.distribution import Share, bounds_by_work, initial_rows, loaded, parts_of, redistribute, row_work
from sparsednn.rows.hashing import hash_neurons
from sparsednn.rows.partition import alive_first, largest_group
from sparsednn.schedulers import AUTO, SCHEDULERS, Scheduler, SchedulerOptions
from sparsednn.system.cores import usable_cores

if TYPE_CHECKING:
    from sparsednn.simulator.tuning import Choice

MOST_THREADS = 4096
"""More would only be a mistake, and take minutes to be started."""


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

    With a `communicator` (see `InferOptions`) it is collective: every process calls it with its own instances and the same
    options. After an error in one of them the others wait for it: end them all (``Communicator.abort``, ``python -m mpi4py``).

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
        Worker threads, or threads of the library where the backend brings its own; unless given, as many as this process may
        use cores, shared with the other processes of its node, or as a backend for devices wants.
    output : bool
        Also return the last activations; of all processes, on rank 0.
    **options
        See `InferOptions`.

    Returns
    -------
    Result
        With ``.categories`` (1-based ids, ascending, of all processes), ``.output`` (csr_array, if asked for) and ``.record``.

    Raises
    ------
    TypeError
        For an unknown option, a value of the wrong type, or an input that is no matrix.
    ValueError
        For a shape that does not match, NaN or infinite inputs, or an unknown name; the message has the legal ones.
    RuntimeError
        If the scheduler is an object that is at work in another call, of another thread.
    MemoryError
        If the network does not fit in the kernel's layout.
    FloatingPointError
        If activations have overflowed float32.
    DeviceError
        If a device fails.
    """
    require_types(network, backend, kernel, scheduler)
    opts, output = infer_options(options), flag("output", output)
    comm = opts.communicator
    n_cores = max(default_threads() // comm.node_size, 1)
    backend = load_backend(backend) if isinstance(backend, str) else backend
    usual = backend.place(comm.node_rank, comm.node_size) if isinstance(backend, DeviceBackend) else n_cores
    n_threads = usual if threads is None else whole_number("threads", threads, 1)
    if n_threads > MOST_THREADS:
        raise OptionError(f"threads={n_threads}: at most {MOST_THREADS}; more than there are cores bring nothing")
    kernel = kernel_name(backend, kernel)
    if isinstance(scheduler, str) and scheduler != AUTO:
        require_schedulable(backend, kernel, scheduler, SCHEDULERS)
        _require_together(make_scheduler(scheduler, opts.scheduler_options), opts)  # refuse what cannot be before all else
    kernel_options = opts.kernel_options(kernel)
    n_workers = workers_of(backend, n_threads, opts.pin)
    clock = _Clock()
    rows = canonical_inputs(inputs, network.n_inputs)
    clock.lap("load")
    choice = plan = None
    if scheduler == AUTO:
        choice, opts, plan = _choose(network, rows, backend, kernel_options, n_threads, opts)
        scheduler = choice.scheduler
    if isinstance(scheduler, str):
        scheduler = make_scheduler(scheduler, opts.scheduler_options)
    clock.lap("choose")
    as_run, rows = hash_neurons(network, rows, opts.buckets) if opts.hashes_neurons else (network, rows)
    layer_nnz = column_imbalance(as_run, n_workers)
    share = _ordered(loaded(comm, rows, opts.row_ids), opts)
    clock.lap("hash")
    prepare = partial(_prepare, backend, kernel=kernel_options, n_threads=n_threads, options=opts, made=plan)
    stages = stages_of(as_run, opts.rebalance_after, prepare)
    del as_run, plan, prepare  # the plans have copies of their own
    clock.lap("prepare")
    _warm_up(backend, stages, len(share.ids), scheduler.n_row_groups(n_workers), opts)
    clock.lap("compile")
    job = Inference(backend, stages, scheduler, share, n_workers, n_cores, output, opts)
    with _alone_with(scheduler):
        if opts.row_order == "alive_first":
            job.share = _ordered(share, opts, alive_first(job.run().categories, share.n_instances))
        runs = [job.run() for _ in range(opts.repeats)]
    seconds = clock.seconds | {
        "inference": [run.seconds for run in runs],
        "inference_median": float(np.median([run.seconds for run in runs])),
    }
    last = runs[-1]
    record = comm.broadcast(record_of(job, network, last, seconds, n_threads, layer_nnz, choice) if comm.rank == 0 else None)
    return Result(last.categories, last.output, record, trace_of(job, last))


_AT_WORK: set[int] = set()
_AT_WORK_LOCK = threading.Lock()


@contextlib.contextmanager
def _alone_with(scheduler: Scheduler) -> Iterator[None]:
    """Keep a scheduler for one call: it has the state of one run."""
    with _AT_WORK_LOCK:
        if id(scheduler) in _AT_WORK:
            raise SchedulerInUseError(
                f"scheduler={scheduler.name}: this object is at work in another call; give each one of its own"
            )
        _AT_WORK.add(id(scheduler))
    try:
        yield
    finally:
        with _AT_WORK_LOCK:
            _AT_WORK.remove(id(scheduler))


def default_threads() -> int:
    """Return how many cores this process may use; see `sparsednn.system.cores.usable_cores`."""
    return usable_cores()


def make_scheduler(name: str, options: SchedulerOptions) -> Scheduler:
    """Return a new scheduler by name, or raise ValueError naming the legal ones."""
    if name not in SCHEDULERS:
        raise OptionError(unknown("scheduler", name, [*SCHEDULERS, AUTO]))
    return SCHEDULERS[name](options)


class _Clock:
    """Seconds of the parts of a run, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, Any] = {}
        self._since = perf_counter()

    def lap(self, name: str) -> None:
        """What has gone on since the last lap was this."""
        now = perf_counter()
        self.seconds[name], self._since = now - self._since, now


def _choose(
    network: Network, rows: sp.csr_array, backend: Backend, kernel: KernelOptions, n_threads: int, options: InferOptions
) -> tuple[Choice, InferOptions, Any]:
    """Let rank 0 choose by its own rows for all processes; the plan that it has made for that can be run if it is whole."""
    comm, found, plan = options.communicator, None, None
    if comm.rank == 0:
        from sparsednn.simulator.tuning import CHOSEN, prepare_and_choose

        choice, chosen, plan = prepare_and_choose(network, rows, backend, kernel, n_threads, options)
        found = choice, {name: getattr(chosen, name) for name in CHOSEN}
    choice, values = comm.broadcast(found)
    chosen = replace(options, **values)
    runs_as_given = not chosen.hashes_neurons and chosen.rebalance_after is None
    return choice, chosen, plan if runs_as_given else None


def _require_together(scheduler: Scheduler, options: InferOptions) -> None:
    """Refuse options that do not go together."""
    if scheduler.takes_from_processes and options.rebalance_after is not None:
        raise OptionError(
            f"rebalance_after={options.rebalance_after}: not with scheduler={scheduler.name}, which goes on balancing by itself"
        )


def _ordered(share: Share, options: InferOptions, first: NDArray[np.int64] | None = None) -> Share:
    """Give each process its instances, in the order in which they are neighbours."""
    comm = options.communicator
    parts = initial_rows(share.n_instances, comm.size, hashed=options.hashes_rows, buckets=options.buckets, first=first)
    if options.split == "work":
        order = np.concatenate(parts)
        parts = parts_of(order, bounds_by_work(row_work(comm, share)[order], comm.size))
    return redistribute(comm, share, parts)


def _prepare(
    backend: Backend, network: Network, kernel: KernelOptions, n_threads: int, options: InferOptions, made: Any = None
) -> Any:
    """Prepare a plan unless it is made already; where it can be, once on each node."""
    comm = options.communicator

    def make() -> Any:
        return backend.prepare(network, kernel, n_threads) if made is None else made

    if not (options.share_network and options.residency in backend.plans_can_be_shared):
        return make()
    return comm.share(make)


def _warm_up(backend: Backend, stages: list[Stage], n_rows: int, n_groups: int, options: InferOptions) -> None:
    """Compile; where processes share a node, one first, so that the others find everything in the cache."""
    comm = options.communicator
    for turn in (True, False) if comm.size > 1 else (True,):
        if turn == (comm.node_rank == 0):
            for stage in stages:
                backend.warm_up(stage.plan, largest_group(n_rows, n_groups, backend.row_unit(stage.plan)))
        comm.barrier()
