"""Options of an inference beyond the common ones, and which of their values are legal."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.scalars import flag, instance_of, one_of, whole_number, whole_numbers
from sparsednn.backend import LEGAL_OPTIONS, Backend, KernelOptions
from sparsednn.comm import Communicator, LocalCommunicator
from sparsednn.errors import OptionTypeError, unknown_key
from sparsednn.network import Network
from sparsednn.rows.distribution import hashes_rows
from sparsednn.schedulers.base import MINIMUM_WORK, Scheduler, SchedulerOptions
from sparsednn.system.cache import cache_folder

ProgressCallback = Callable[[int, int], None]
HASHINGS = ("none", "input", "layer", "both")
RESIDENCIES = ("memory", "stream")
ROW_ORDERS = ("given", "alive_first")
SPLITS = ("even", "work")
CHOICES = {**LEGAL_OPTIONS, "hashing": HASHINGS, "row_order": ROW_ORDERS, "residency": RESIDENCIES, "split": SPLITS}
PARAMETERS = ("backend", "kernel", "scheduler", "threads", "output")
"""Of `infer`, beside its options."""

FLAGS = ("full_columns", "pin", "trace", "share_network")
COUNTS = ("repeats", "buckets")
OPTIONAL_COUNTS = ("block_rows", "numa_domains", "rebalance_after")


@dataclass(frozen=True, slots=True)
class InferOptions:
    """Options of `infer` beyond its named parameters.

    Attributes
    ----------
    repeats : int
        How often the inference is run; the record has every time, and their median.
    rows, columns, order, full_columns, block_rows
        See `sparsednn.backend.KernelOptions`.
    residency : {"memory", "stream"}
        Keep the packed layers in memory, or in files in the cache folder, from which a thread reads them ahead of the
        computation. Each network has a folder of its own there (``layers/layers-...``), which stays until somebody deletes it.
    pin : bool
        Keep each worker thread on a core of its own.
    numa_domains : int, optional
        Schedule as if the workers were in so many NUMA domains; None asks the system where workers are pinned, and takes those
        that may run anywhere for one domain.
    row_order : {"given", "alive_first"}
        Order of the instances before they are split: as given, or those that end alive before all others (the worst case for a
        contiguous split; found by a run before the clock is on).
    hashing : {"none", "input", "layer", "both"}
        Spread neighbouring instances evenly over the row groups ("input"), neighbouring neurons over each layer ("layer"; see
        `sparsednn.rows.hashing.hash_neurons`), or both, in ``buckets * 128`` parts. Results are in the original ids; with
        hashed neurons, csr_csr and the kernels with dense layers add in another order and so may differ in the last bits.
    buckets : int
    split : {"even", "work"}
        Whether processes get equally many instances, or equal estimated work (nonzeros of the input).
    rebalance_after : int, optional
        After so many layers, once, the instances that are left are spread evenly over all processes and their row groups.
    split_factor, strategy, recruiting_ratio, threshold, minimum_work
        See `sparsednn.schedulers.SchedulerOptions`.
    calibration : Path, optional
        The calibration file by which ``scheduler="auto"`` and simulated runs predict; the one that comes with the package,
        unless given.
    trace : bool
        Return what each worker did when, as `Result.trace`.
    progress : callable, optional
        Called a few times a second with (rows x layers finished, rows x layers in all).
    communicator : Communicator
        The processes that take part: this one alone, unless told otherwise.
    share_network : bool
        Keep one copy of the packed network on each node, in memory that its processes share. Where shared memory has no room
        for it, each process has a copy; results are the same.
    row_ids : int64 array, optional
        Ids of this process's instances, from 0 and ascending, among those of all processes, which have each once; one process's
        after the other's, by rank, unless given.

    Raises
    ------
    TypeError, ValueError
        For a value of another type, or one that is not legal; the message names the option.
    """

    repeats: int = 1
    rows: str = "merge"
    columns: str = "merge"
    order: str = "shared_inputs"
    full_columns: bool = True
    block_rows: int | None = None
    residency: str = "memory"
    pin: bool = False
    numa_domains: int | None = None
    row_order: str = "given"
    hashing: str = "none"
    buckets: int = 1
    split: str = "even"
    rebalance_after: int | None = None
    split_factor: int = 8
    strategy: str = "earliest_first"
    recruiting_ratio: float = 0.0
    threshold: int = 4
    minimum_work: int = MINIMUM_WORK
    calibration: Path | None = None
    trace: bool = False
    progress: ProgressCallback | None = None
    communicator: Communicator = field(default_factory=LocalCommunicator)
    share_network: bool = True
    row_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check each option, and keep it in Python's own type: NumPy's scalars would reach compiled code and records."""
        checked: dict[str, Any] = {name: one_of(name, getattr(self, name), legal) for name, legal in CHOICES.items()}
        checked |= {name: flag(name, getattr(self, name)) for name in FLAGS}
        checked |= {name: whole_number(name, getattr(self, name), 1) for name in COUNTS}
        given = [name for name in OPTIONAL_COUNTS if getattr(self, name) is not None]
        checked |= {name: whole_number(name, getattr(self, name), 1) for name in given}
        if self.calibration is not None:
            instance_of("calibration", self.calibration, (str, os.PathLike), "the path of a file is needed")
            checked["calibration"] = Path(self.calibration)
        if self.progress is not None and not callable(self.progress):
            raise OptionTypeError(f"progress={self.progress!r}: a function of two numbers is needed")
        instance_of("communicator", self.communicator, Communicator, "a sparsednn.comm.Communicator is needed")
        if self.row_ids is not None:
            checked["row_ids"] = whole_numbers("row_ids", self.row_ids)
        checked |= asdict(self.scheduler_options)  # which checks its own
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def kernel_options(self, kernel: str) -> KernelOptions:
        """Those that concern the kernel, whose full name is given."""
        stream_from = cache_folder() / "layers" if self.residency == "stream" else None
        return KernelOptions(kernel, self.rows, self.columns, self.order, self.full_columns, self.block_rows, stream_from)

    @property
    def scheduler_options(self) -> SchedulerOptions:
        """Those that concern the scheduler; ValueError for a value that is not legal."""
        return SchedulerOptions(self.split_factor, self.strategy, self.recruiting_ratio, self.threshold, self.minimum_work)

    @property
    def hashes_rows(self) -> bool:
        """Whether instances are hashed."""
        return hashes_rows(self.hashing)

    @property
    def hashes_neurons(self) -> bool:
        """Whether neurons are hashed."""
        return self.hashing in ("layer", "both")


def infer_options(options: dict[str, Any]) -> InferOptions:
    """Return checked options.

    Raises
    ------
    TypeError, ValueError
        For an unknown option, or a value that is not legal; the message has those that are.
    """
    names = [f.name for f in fields(InferOptions)]
    for name in options:
        if name not in names:
            raise OptionTypeError(f"infer: {unknown_key(name, (*PARAMETERS, *names))}")
    return InferOptions(**options)


def require_types(network: Any, backend: Any, kernel: Any = "auto", scheduler: Any = "data") -> None:
    """Refuse what is of the wrong type by its name; what is in it is checked where it is used.

    Raises
    ------
    TypeError
        If the network is no `Network`, the backend no name and no `Backend`, and so on.
    """
    instance_of("network", network, Network, "a sparsednn.Network is needed")
    instance_of("backend", backend, (str, Backend), "the name of a backend, or a sparsednn.backend.Backend is needed")
    instance_of("kernel", kernel, str, "the name of a kernel is needed")
    instance_of("scheduler", scheduler, (str, Scheduler), "the name of a scheduler, or an object of Scheduler is needed")
