"""Checks what a caller asks of an inference, before any work is done."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import scipy.sparse as sp

from sparsednn.arguments.scalars import flag, whole_number
from sparsednn.backend import (
    Backend,
    CompactBackend,
    DeviceBackend,
    KernelOptions,
    kernel_name,
    load_backend,
    require_schedulable,
    workers_of,
)
from sparsednn.comm import Communicator
from sparsednn.errors import OptionError, unknown
from sparsednn.execution.options import InferOptions
from sparsednn.network import Network
from sparsednn.schedulers import AUTO, SCHEDULERS, Scheduler, SchedulerOptions
from sparsednn.system.cores import usable_cores

if TYPE_CHECKING:
    from sparsednn.simulator.tuning import Choice

MOST_THREADS = 4096
"""More would only be a mistake, and take minutes to be started."""


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
    def checked(cls, backend: Any, kernel: Any, scheduler: Any, threads: Any, output: Any, options: InferOptions) -> Self:
        """Check a request, or refuse it before any work is done; types are checked already."""
        comm = options.communicator
        backend = load_backend(backend) if isinstance(backend, str) else backend
        n_cores = max(default_threads() // comm.node_size, 1)
        n_threads = _n_threads(threads, backend, n_cores, comm)
        kernel = kernel_name(backend, kernel)
        if isinstance(scheduler, str) and scheduler != AUTO:
            require_schedulable(backend, kernel, scheduler, SCHEDULERS)
            _require_compatible(make_scheduler(scheduler, options.scheduler), options)
        elif isinstance(scheduler, Scheduler):
            _require_compatible(scheduler, options)
        n_workers = workers_of(backend, n_threads, pin=options.cluster.pin)
        output = flag("output", output)
        return cls(backend, options.kernel_options(kernel), scheduler, n_threads, n_workers, n_cores, output, options)

    def choose(self, network: Any, rows: sp.csr_array) -> tuple[Scheduler, "Choice | None", InferOptions, Any]:
        """Return the scheduler; with scheduler=auto, also what rank 0 has chosen for all processes by its own rows and the
        network (a `Network`), the options with it, and the plan that was made for that, if it is the one to run.
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


def default_threads() -> int:
    """Return how many cores this process may use; see `sparsednn.system.cores.usable_cores`."""
    return usable_cores()


def make_scheduler(name: str, options: SchedulerOptions) -> Scheduler:
    """Return a new scheduler by name, or raise ValueError naming the legal ones."""
    if name not in SCHEDULERS:
        raise OptionError(unknown("scheduler", name, [*SCHEDULERS, AUTO]))
    return SCHEDULERS[name](options)


def reads_compact_rows(backend: Backend, kernel: str, scheduler: str | Scheduler, options: InferOptions) -> bool:
    """Return whether compact rows stay as they are: nothing moves or changes them, and a kernel (its full name) reads them."""
    if scheduler == AUTO or options.hashes_neurons or options.run.rebalance_after is not None:
        return False
    kind = SCHEDULERS[scheduler] if isinstance(scheduler, str) else scheduler
    moves = kind.takes_from_processes or kind.cuts or options.partition.order == "alive_first"
    return not moves and isinstance(backend, CompactBackend) and kernel in backend.compact_kernels


def _require_compatible(scheduler: Scheduler, options: InferOptions) -> None:
    """Refuse options that do not go together."""
    if (scheduler.takes_from_processes or scheduler.cuts) and options.run.rebalance_after is not None:
        does = "spreads all rows" if scheduler.cuts else "goes on balancing by itself"
        raise OptionError(f"rebalance_after={options.run.rebalance_after}: not with scheduler={scheduler.name}, which {does}")
