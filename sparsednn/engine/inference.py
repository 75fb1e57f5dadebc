"""Runs an inference: puts partition, scheduler, executor and backend together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

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
from sparsednn.comm import Communicator
from sparsednn.errors import OptionError, unknown
from sparsednn.execution.exclusive import alone_with
from sparsednn.execution.layer_ranges import LayerRange, layer_ranges_of
from sparsednn.execution.options import InferOptions, infer_options, require_types
from sparsednn.execution.phases import PhaseTimes, redistributed, warm_up
from sparsednn.execution.prepared_run import Inference, Repeat
from sparsednn.execution.record import record_of, trace_of
from sparsednn.network import Network
from sparsednn.results.measures import column_imbalance
from sparsednn.results.record import AutoChoice
from sparsednn.results.result import Result
from sparsednn.rows.distribution import loaded_share
from sparsednn.rows.hashing import hash_neurons
from sparsednn.rows.partition import alive_first
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
    options: InferOptions | None = None,
    **flat: Any,
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
    options : InferOptions, optional
        All further options, in groups.
    **flat
        Or each of them as a keyword argument of its own, which goes before `options`: see `InferOptions`.

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
    asked = Request.checked(network, backend, kernel, scheduler, threads, output, infer_options(flat, options))
    return PreparedNetwork(network, asked).infer(inputs)


class PreparedNetwork:
    """A network that is prepared for a request, and keeps what does not depend on the inputs for the next call.

    Parameters
    ----------
    network : Network
    asked : Request
    """

    def __init__(self, network: Network, asked: Request) -> None:
        self.network, self.asked = network, asked
        self._stages: list[LayerRange] | None = None

    @property
    def keeps_stages(self) -> bool:
        """Whether the layers are prepared in the same way whatever the inputs are."""
        return not self.asked.options.hashes_neurons and self.asked.scheduler != AUTO

    def infer(self, inputs: Any, *, output: bool | None = None) -> Result:
        """Run inference; `output` goes before the request's. See `infer`."""
        asked, network, clock = self.asked, self.network, PhaseTimes()
        with clock.lap("load"):
            rows = canonical_inputs(inputs, network.n_inputs)
        with clock.lap("choose"):
            scheduler, choice, opts, plan = asked.choose(network, rows)
        with clock.lap("hash"):
            as_run, rows = hash_neurons(network, rows, opts.partition.buckets) if opts.hashes_neurons else (network, rows)
            layer_nnz = column_imbalance(as_run, asked.n_workers)
            share = redistributed(loaded_share(opts.communicator, rows, opts.row_ids), opts)
        with clock.lap("prepare"):
            stages = self._prepared(as_run, opts, plan)
            del as_run, plan  # the stages have plans of their own, with copies
        with clock.lap("compile"):
            warm_up(asked.backend, stages, len(share.ids), scheduler.n_row_groups(asked.n_workers), opts)
        wanted = asked.output if output is None else output
        job = Inference(asked.backend, stages, scheduler, share, asked.n_workers, asked.n_cores, opts, output=wanted)
        runs = _repeated(job)
        seconds = clock.seconds | {
            "inference": [run.seconds for run in runs],
            "inference_median": float(np.median([run.seconds for run in runs])),
        }
        return _result(job, network, runs[-1], seconds, asked.n_threads, layer_nnz, choice)

    def _prepared(self, as_run: Network, options: InferOptions, plan: Any) -> list[LayerRange]:
        """Prepare the layers, unless that was done in an earlier call."""
        if self._stages is not None:
            return self._stages
        stages = layer_ranges_of(as_run, options.run.rebalance_after, partial(self.asked.prepare, made=plan))
        if self.keeps_stages:
            self._stages = stages
        return stages


class Request(NamedTuple):
    """A caller's request, checked and not yet begun.

    Attributes
    ----------
    n_threads : int
        Worker threads, or threads of the library where the backend brings its own.
    n_workers : int
        Workers that the scheduler sees.
    n_cores : int
        Cores that this process may use.
    """

    backend: Backend
    kernel: KernelOptions
    scheduler: str | Scheduler
    n_threads: int
    n_workers: int
    n_cores: int
    output: bool
    options: InferOptions

    @classmethod
    def checked(
        cls, network: Network, backend: Any, kernel: Any, scheduler: Any, threads: Any, output: Any, options: InferOptions
    ) -> Request:  # fmt: skip
        """Check a request, or refuse it before any work is done."""
        require_types(network, backend, kernel, scheduler)
        comm = options.communicator
        backend = load_backend(backend) if isinstance(backend, str) else backend
        n_cores = max(default_threads() // comm.node_size, 1)
        n_threads = _n_threads(threads, backend, n_cores, comm)
        kernel = kernel_name(backend, kernel)
        if isinstance(scheduler, str) and scheduler != AUTO:
            require_schedulable(backend, kernel, scheduler, SCHEDULERS)
            _require_compatible(make_scheduler(scheduler, options.scheduler), options)
        n_workers = workers_of(backend, n_threads, pin=options.cluster.pin)
        output = flag("output", output)
        return cls(backend, options.kernel_options(kernel), scheduler, n_threads, n_workers, n_cores, output, options)

    def choose(self, network: Network, rows: sp.csr_array) -> tuple[Scheduler, Choice | None, InferOptions, Any]:
        """Return the scheduler; with scheduler=auto, also what rank 0 has chosen for all processes by its own rows, the options
        with it, and the plan that was made for that, if it is the one to run.
        """
        if isinstance(self.scheduler, Scheduler):
            return self.scheduler, None, self.options, None
        if self.scheduler != AUTO:
            return make_scheduler(self.scheduler, self.options.scheduler), None, self.options, None
        comm, found, plan = self.options.communicator, None, None
        if comm.rank == 0:
            from sparsednn.simulator.tuning import prepare_and_choose

            choice, chosen, plan = prepare_and_choose(network, rows, self.backend, self.kernel, self.n_threads, self.options)
            found = choice, chosen.scheduler, chosen.partition
        choice, scheduler_options, partition = comm.broadcast(found)
        options = replace(self.options, scheduler=scheduler_options, partition=partition)
        runs_as_given = not options.hashes_neurons and options.run.rebalance_after is None
        return make_scheduler(choice.scheduler, options.scheduler), choice, options, plan if runs_as_given else None

    def prepare(self, network: Network, made: Any = None) -> Any:
        """Return a plan, unless it is made already; where it can be, one for all processes of a node."""
        cluster, residency = self.options.cluster, self.options.network.residency

        def make() -> Any:
            return self.backend.prepare(network, self.kernel, self.n_threads) if made is None else made

        if not (cluster.share_network and residency in self.backend.plans_can_be_shared):
            return make()
        return self.options.communicator.share(make)


def _n_threads(threads: Any, backend: Backend, n_cores: int, comm: Communicator) -> int:
    """Return how many threads a process has: those that were asked for, or as many as it has cores, or as a device wants."""
    wanted = backend.place(comm.node_rank, comm.node_size) if isinstance(backend, DeviceBackend) else n_cores
    n_threads = wanted if threads is None else whole_number("threads", threads, 1)
    if n_threads > MOST_THREADS:
        raise OptionError(f"threads={n_threads}: at most {MOST_THREADS}; more than there are cores bring nothing")
    return n_threads


def _repeated(job: Inference) -> list[Repeat]:
    """Run an inference as often as asked for; before that, find out which instances end alive, if they are to go first."""
    options = job.options
    with alone_with(job.scheduler):
        if options.partition.order == "alive_first":
            alive = alive_first(job.run().categories, job.share.n_instances)
            job.share = redistributed(job.share, options, alive)
        return [job.run() for _ in range(options.run.repeats)]


def _result(
    job: Inference, network: Network, last: Repeat, seconds: dict[str, Any], n_threads: int, layer_nnz: float,
    choice: Choice | None,
) -> Result:  # fmt: skip
    """Return what every process gets: the record is rank 0's."""
    comm, record = job.options.communicator, None
    if comm.rank == 0:
        auto = None if choice is None else AutoChoice(reason=choice.reason, predicted_s=choice.predicted)
        record = record_of(job, network, last, seconds, n_threads, layer_nnz, auto)
    record = comm.broadcast(record)
    return Result(last.categories, last.output, record, trace_of(job, last))


def default_threads() -> int:
    """Return how many cores this process may use; see `sparsednn.system.cores.usable_cores`."""
    return usable_cores()


def make_scheduler(name: str, options: SchedulerOptions) -> Scheduler:
    """Return a new scheduler by name, or raise ValueError naming the legal ones."""
    if name not in SCHEDULERS:
        raise OptionError(unknown("scheduler", name, [*SCHEDULERS, AUTO]))
    return SCHEDULERS[name](options)


def _require_compatible(scheduler: Scheduler, options: InferOptions) -> None:
    """Refuse options that do not go together."""
    if scheduler.takes_from_processes and options.run.rebalance_after is not None:
        raise OptionError(
            f"rebalance_after={options.run.rebalance_after}: not with scheduler={scheduler.name}, "
            "which goes on balancing by itself"
        )
