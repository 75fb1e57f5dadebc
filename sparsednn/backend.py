"""The backend interface: what the engine needs from whoever carries out the arithmetic.

A backend turns a network into a *plan* once, opens row groups on it, runs them through layers and closes them. Plans and
groups are the backend's own objects: the engine only passes them on. Backends are found as entry points of the group
``sparsednn.backends``, so that this package imports none of them and others can bring their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.errors import DeviceError as DeviceError  # backends take it from here
from sparsednn.errors import MissingPackageError, OptionError, OptionTypeError, unknown
from sparsednn.network import Network
from sparsednn.system.siblings import claim

ENTRY_POINT_GROUP = "sparsednn.backends"
STOP_FLAG = 0
"""Position in `Control.flags` of the flag that asks kernels to return at the next layer boundary."""


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """What a plan is to be made for.

    Attributes
    ----------
    kernel : str
        A name or alias that the backend lists in `kernels`; "auto" lets it choose.
    rows : {"none", "prune", "retire", "merge"}
        Each does what those before it do. "prune": drop rows that have become all zero and will stay so; "retire": take out
        rows in which every neuron is at its activation's maximum, if all later layers provably keep that; "merge": let one row
        go on for all that have the same bits.
    columns : {"none", "merge"}
        "merge": of columns of a layer that are the same, compute one.
    order : {"given", "shared_inputs"}
        Order in which a layer's output columns are computed; "shared_inputs" puts columns with the same inputs together.
    full_columns : bool
        Let the sparse kernels add a column of activations in which no row is zero as a dense vector, without its ids.
    block_rows : int, optional
        Rows that the dense-block kernels take at a time; None lets the backend choose.
    stream_from : Path, optional
        Where the packed layers are kept in files (made there if need be), to be read while those before them are computed;
        None keeps them in memory.
    """

    kernel: str = "auto"
    rows: str = "merge"
    columns: str = "merge"
    order: str = "shared_inputs"
    full_columns: bool = True
    block_rows: int | None = None
    stream_from: Path | None = None


LEGAL_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "rows": ("none", "prune", "retire", "merge"),
    "columns": ("none", "merge"),
    "order": ("given", "shared_inputs"),
}
"""Legal values of the optimisations that can be switched."""


LINE = 8
"""Entries of a cache line of int64."""


@dataclass(frozen=True, slots=True)
class Control:
    """Memory shared by the executor and the running kernels; a cache line for each worker.

    Attributes
    ----------
    flags : int64 array, shape (8,)
        ``flags[STOP_FLAG]`` not zero asks kernels to return at the next layer boundary.
    calls : int64 array, shape (n_workers, 8)
        Column 0: 0, or 1 + the layer from which on the worker is to return at a layer boundary.
    progress : int64 array, shape (n_workers, 8)
        Of each worker that runs a row group or leads a crew, column 0: rows x layers finished, of all its row groups; column 1:
        layers finished of the current one (mean over its rows where these go different ways); column 2: multiply-adds that its
        next layer is expected to take.
    """

    flags: NDArray[np.int64]
    calls: NDArray[np.int64]
    progress: NDArray[np.int64]

    @classmethod
    def for_workers(cls, n_workers: int) -> Control:
        """Make one with all flags and counts zero."""
        return cls(np.zeros(LINE, np.int64), np.zeros((n_workers, LINE), np.int64), np.zeros((n_workers, LINE), np.int64))


class Outcome(Enum):
    """Why a backend has returned from a row group."""

    THROUGH = "through"
    CALLED = "called"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers that run one row group: one, or a team that splits each layer. The first one leads.

    Attributes
    ----------
    workers : tuple of int
    shared : int64 array
        Zeroed memory of the crew's own, used by the backend for meetings. Fresh for every crew.
    spins : int
        How often a member that waits for others is to look again before it lets another thread have its core.
    logs : int64 array, shape (n_members, 1 + 2 * n)
        Of each member: how many of its longer waits for the others follow, then start and end of each, in nanoseconds of
        `time.perf_counter`. Kept while there is room.
    """

    workers: tuple[int, ...]
    shared: NDArray[np.int64]
    spins: int
    logs: NDArray[np.int64]

    HEAD = 3
    MULTIPLY_ADDS, MEET_NS = 1, 2

    @classmethod
    def of(cls, workers: tuple[int, ...], spins: int = 0, log: int = 0) -> Crew:
        """Make one with room to log `log` waits for each member."""
        n = len(workers)
        return cls(workers, np.zeros(LINE * (cls.HEAD + n), np.int64), spins, np.zeros((n, 1 + 2 * log), np.int64))

    def figure(self, member: int, entry: int) -> int:
        """Return what a member has counted: `MULTIPLY_ADDS` or `MEET_NS` (time spent on waiting for the others)."""
        return int(self.shared[LINE * (self.HEAD + member) + entry])

    def count(self, member: int, multiply_adds: int) -> None:
        """Add to what a member has done, for backends that do not count in `shared` themselves."""
        self.shared[LINE * (self.HEAD + member) + self.MULTIPLY_ADDS] += multiply_adds

    def wait(self, member: int, start_ns: int, stop_ns: int) -> None:
        """Note that a member has waited for the others, for backends that do not note it in `shared` themselves."""
        self.shared[LINE * (self.HEAD + member) + self.MEET_NS] += stop_ns - start_ns
        log = self.logs[member]
        at = 1 + 2 * int(log[0])
        if at + 2 <= len(log):
            log[at : at + 2] = start_ns, stop_ns
            log[0] += 1

    def waits(self, member: int) -> tuple[tuple[float, float], ...]:
        """Return start and end of the waits that a member has logged, in seconds of `time.perf_counter`."""
        log = self.logs[member]
        pairs = log[1 : 1 + 2 * int(log[0])].reshape(-1, 2) * 1e-9
        return tuple((float(start), float(stop)) for start, stop in pairs)


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What a finished row group has come to.

    Attributes
    ----------
    sums : float64 array, shape (n_rows,)
        Sum of each row of the last activations, added in ascending neuron order.
    multiply_adds : int
        Multiply-adds really done.
    output : csr_array of float32, shape (n_rows, n_outputs), or None
        The last activations, if they were asked for.
    """

    sums: NDArray[np.float64]
    multiply_adds: int
    output: sp.csr_array | None


@runtime_checkable
class Backend(Protocol):
    """Carries out inference. A plan may be used by several crews at once, a group by one at a time."""

    name: str
    kernels: Mapping[str, str]
    """Legal names and aliases of kernels, each with the kernel's own name."""

    schedulers: Mapping[str, tuple[str, ...]]
    """For each kernel's own name, the schedulers that go with it."""

    same_bits: Collection[str]
    """Kernels (full names) whose results have the bits of the reference; those of others may be rounded in another way."""

    own_threads: bool
    """Whether there is one worker only, which calls a library that brings its own threads."""

    plans_can_be_shared: Collection[str]
    """With which residencies of the network ("memory", "stream") a plan is plain data that other processes can use (pickled,
    with its arrays in shared memory)."""

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> Any:
        """Return a plan: the network in the layout that the kernels want. Sees no input.

        Where the backend brings its own threads, `n_workers` is how many these are to be.

        Raises ValueError for an unknown kernel and MemoryError where the layout would not fit.
        """

    def warm_up(self, plan: Any, largest_group: int) -> None:
        """Compile, or load from the cache, every kernel that the plan will call on groups of up to `largest_group` rows."""

    def open(self, plan: Any, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, output: bool) -> Any:
        """Return a row group: `rows` (0-based, ascending) of `inputs` (canonical float32), ready for the first layer.

        A worker has one group open at a time. `output` says that `close` will be asked for the last activations.
        """

    def run(self, plan: Any, group: Any, control: Control, crew: Crew, member: int) -> Outcome:
        """Run the group on from where it is; every member of the crew makes this call, and all return at the same layer
        boundary.

        A crew that has just begun takes at least one step before it returns because its leader was called.
        """

    def close(self, plan: Any, group: Any) -> GroupResult:
        """Return the results of a group that is through, and give its memory back to the worker."""

    def row_unit(self, plan: Any) -> int:
        """Return how many instances the kernel takes at a time, however few there are: row groups are made of such units."""

    def describe(self, plan: Any) -> dict[str, Any]:
        """Return what a record should say of the plan: the kernel's name and the optimisations that are on."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerSizes:
    """How large the layers of a plan are as they are run, which is smaller than in the network where columns are merged.

    Attributes
    ----------
    n_inputs, n_outputs, connections : int64 arrays, shape (n_layers,)
    full_stays : bool array, shape (n_layers,)
        Whether rows that are saturated before the layer are taken out.
    """

    n_inputs: NDArray[np.int64]
    n_outputs: NDArray[np.int64]
    connections: NDArray[np.int64]
    full_stays: NDArray[np.bool_]


@runtime_checkable
class ProfilingBackend(Backend, Protocol):
    """A backend that can also count the work that rows will be, for cost models."""

    def profile(self, plan: Any, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return how many activations of each row (0-based) are nonzero before each layer and after the last.

        Shape (n_layers + 1, len(rows)). Many threads may call it at once. Raises ValueError for a plan that cannot do it; that
        of kernel "auto" can.
        """

    def layer_sizes(self, plan: Any) -> LayerSizes:
        """Return how large the layers are as they are run."""


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """A backend whose workers are not threads on cores, but streams of devices that a node's processes share."""

    def place(self, node_rank: int, node_size: int) -> int:
        """Choose the devices of this process, one of `node_size` on its node; return how many workers to use unless told
        otherwise. Called before anything else."""


def require_in_memory(backend: Backend, options: KernelOptions) -> None:
    """Raise ValueError if layers were to be streamed, for backends that cannot."""
    if options.stream_from is not None:
        raise OptionError(f"network.residency=stream: backend={backend.name} keeps the network in memory; use backend=numba")


def kernel_name(backend: Backend, kernel: str) -> str:
    """Return the full name of a kernel of `backend`, or raise ValueError naming the legal ones."""
    if kernel not in backend.kernels:
        raise OptionError(f"{unknown('kernel', kernel, backend.kernels)} (backend {backend.name})")
    return backend.kernels[kernel]


def require_schedulable(backend: Backend, kernel: str, scheduler: str, known: Collection[str]) -> None:
    """Refuse a scheduler of the `known` ones that does not go with a kernel (its full name).

    Raises
    ------
    ValueError
        Naming the schedulers that go with the kernel, and the kernels that go with the scheduler.
    """
    legal = backend.schedulers[kernel]
    if scheduler in legal or scheduler not in known:
        return
    kernels = [name for name, schedulers in backend.schedulers.items() if scheduler in schedulers]
    others = f"; kernels that go with {scheduler}: {', '.join(kernels)}" if kernels else ""
    raise OptionError(
        f"scheduler={scheduler} does not go with kernel={kernel} (backend {backend.name}); legal: {', '.join(legal)}{others}"
    )


def workers_of(backend: Backend, n_threads: int, pin: bool) -> int:
    """Return how many workers make `n_threads` threads: one, where the backend brings its own threads.

    Raises
    ------
    ValueError
        If those were to be pinned: they would inherit the one core of the worker.
    """
    if not backend.own_threads:
        return n_threads
    if pin:
        raise OptionError(f"pin=true: backend={backend.name} brings its own threads, which would share one core; leave it off")
    return 1


def backend_names() -> list[str]:
    """Return the names of the backends that are installed."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})


def load_backend(name: str) -> Backend:
    """Return a new backend by name.

    Raises
    ------
    ValueError
        If no installed package offers a backend of that name.
    ImportError
        If the backend needs a package that is missing, or another module has been imported under the name of its own.
    """
    found = [entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name == name]
    if not found:
        names = backend_names()
        if not names:
            raise OptionError(f"backend={name}: no backend is installed; install the project with: pip install -e .")
        raise OptionError(unknown("backend", name, names))
    if _comes_with_us(found[0]):
        claim(found[0].module.partition(".")[0])
    try:
        backend = found[0].load()()
    except ImportError as error:
        raise MissingPackageError(f"backend={name} needs a package that cannot be imported: {error}") from error
    if not isinstance(backend, Backend):
        raise OptionTypeError(f"backend={name}: {type(backend).__name__} lacks parts of sparsednn.backend.Backend")
    return backend


def _comes_with_us(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "sparsednn"
