"""The backend interface: what the engine needs from whoever carries out the arithmetic.

A backend turns a network into a *plan* once, opens row groups on it, runs them through layers and closes them. Plans and
groups are the backend's own objects: the engine only passes them on. Backends are found as entry points of the group
``sparsednn.backends``, so that this package imports none of them and others can bring their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.choices import unknown
from sparsednn.network import Network

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
    rows : {"none", "prune"}
        Drop rows that have become all zero and will stay so ("prune"), or keep them.
    columns : {"none"}
        Merging of identical columns.
    order : {"given", "shared_inputs"}
        Order in which a layer's output columns are computed; "shared_inputs" puts columns with the same inputs together.
    full_columns : bool
        Let the sparse kernels add a column of activations in which no row is zero as a dense vector, without its ids.
    block_rows : int, optional
        Rows that the dense-block kernels take at a time; None lets the backend choose.
    """

    kernel: str = "auto"
    rows: str = "prune"
    columns: str = "none"
    order: str = "shared_inputs"
    full_columns: bool = True
    block_rows: int | None = None


LEGAL_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "rows": ("none", "prune"),
    "columns": ("none",),
    "order": ("given", "shared_inputs"),
}
"""Legal values of the optimisations that can be switched."""


@dataclass(frozen=True, slots=True)
class Control:
    """Memory shared by the executor and the running kernels.

    Attributes
    ----------
    flags : int64 array
        ``flags[STOP_FLAG]`` not zero asks kernels to return at the next layer boundary.
    progress : int64 array, shape (n_workers, 8)
        Column 0: rows x layers that a worker has finished. A cache line for each worker.
    """

    flags: NDArray[np.int64]
    progress: NDArray[np.int64]

    @classmethod
    def for_workers(cls, n_workers: int) -> Control:
        """Make one with all flags and counts zero."""
        return cls(np.zeros(8, np.int64), np.zeros((n_workers, 8), np.int64))


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
    """Carries out inference. A plan may be used by several workers at once, a group by one at a time."""

    name: str
    kernels: Mapping[str, str]
    """Legal names and aliases of kernels, each with the kernel's own name."""

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> Any:
        """Return a plan: the network in the layout that the kernels want. Sees no input.

        Raises ValueError for an unknown kernel and MemoryError where the layout would not fit.
        """

    def warm_up(self, plan: Any, largest_group: int) -> None:
        """Compile, or load from the cache, every kernel that the plan will call on groups of up to `largest_group` rows."""

    def open(self, plan: Any, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, output: bool) -> Any:
        """Return a row group: `rows` (0-based, ascending) of `inputs` (canonical float32), ready for the first layer.

        A worker has one group open at a time. `output` says that `close` will be asked for the last activations.
        """

    def run(self, plan: Any, group: Any, control: Control, worker: int) -> bool:
        """Run the group on from where it is. Return True when it is through, False when the stop flag ended it early."""

    def close(self, plan: Any, group: Any) -> GroupResult:
        """Return the results of a group that is through, and give its memory back to the worker."""

    def describe(self, plan: Any) -> dict[str, Any]:
        """Return what a record should say of the plan: the kernel's name and the optimisations that are on."""


def kernel_name(backend: Backend, kernel: str) -> str:
    """Return the full name of a kernel of `backend`, or raise ValueError naming the legal ones."""
    if kernel not in backend.kernels:
        raise ValueError(f"{unknown('kernel', kernel, backend.kernels)} (backend {backend.name})")
    return backend.kernels[kernel]


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
        If the backend needs a package that is missing.
    """
    found = [entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name == name]
    if not found:
        names = backend_names()
        if not names:
            raise ValueError(f"backend={name}: no backend is installed; install the project with: pip install -e .")
        raise ValueError(unknown("backend", name, names))
    try:
        backend = found[0].load()()
    except ImportError as error:
        raise ImportError(f"backend={name} needs a package that cannot be imported: {error}") from error
    if not isinstance(backend, Backend):
        raise TypeError(f"backend={name}: {type(backend).__name__} lacks parts of sparsednn.backend.Backend")
    return backend
