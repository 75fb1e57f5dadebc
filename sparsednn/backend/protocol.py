"""Declares the `Backend` protocol: the methods that the engine calls, their options and their results.

A backend turns a network into a *plan* once, opens row groups on it, runs them through layers and closes them. Plans and
groups are the backend's own objects: the engine only passes them on. What only some backends can do is in
`sparsednn.backend.optional`.
"""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.backend.description import PlanDescription
from sparsednn.backend.shared_memory import Control, Outcome, Team
from sparsednn.network import Network
from sparsednn.options.documentation import documented
from sparsednn.options.fields import declarations, rule_of, text
from sparsednn.options.groups import BackendOptions, OptimizeOptions


@documented
@dataclass(eq=False, repr=False)
class KernelOptions(OptimizeOptions, BackendOptions):
    """The options that a plan is made for."""

    kernel: str = text("auto", "A name or alias that the backend lists in its kernels; auto lets it choose")
    stream_from: Path | None = field(
        default=None,
        kw_only=True,
        metadata={
            "doc": "The folder where the packed layers are kept in files (made there if need be), to be read while those "
            "before them are computed; None keeps them in memory."
        },
    )


LEGAL_OPTIONS: Mapping[str, tuple[str, ...]] = {
    name: rule.legal for name, declared in declarations(OptimizeOptions).items() if (rule := rule_of(declared)) and rule.legal
}
"""Legal values of the optimisations that can be switched."""


class GroupResult(NamedTuple):
    """The results of a finished row group.

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
    """Carries out inference. A plan may be used by several teams at once, a group by one at a time."""

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

    def open(self, plan: Any, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> Any:
        """Return a row group: `rows` (0-based, ascending) of `inputs` (canonical float32), ready for the first layer.

        A worker has one group open at a time. `output` says that `close` will be asked for the last activations.
        """

    def run(self, plan: Any, group: Any, control: Control, team: Team, member: int) -> Outcome:
        """Run the group on from where it is; every member of the team makes this call, and all return at the same layer
        boundary.

        A team that has just begun takes at least one step before it returns because its leader was called.
        """

    def close(self, plan: Any, group: Any) -> GroupResult:
        """Return the results of a group that is through, and give its memory back to the worker."""

    def row_unit(self, plan: Any) -> int:
        """Return how many instances the kernel takes at a time, however few there are: row groups are made of such units."""

    def describe(self, plan: Any) -> PlanDescription:
        """Return what a record should say of the plan: the kernel's name and the optimisations that are on."""
