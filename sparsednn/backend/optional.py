"""Declares the protocols that only some backends implement besides `Backend`, and the values that pass through them.

They count the work of rows, say what costs depend on and how much memory a run takes, or have workers that are no threads.
"""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from collections.abc import Collection
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.backend.protocol import Backend, KernelOptions
from sparsednn.network import Network, NetworkOutline


class LayerSizes(NamedTuple):
    """The sizes of a plan's layers as they are run: smaller than in the network where columns are merged.

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
    """A backend that can also count the work of rows, for cost models."""

    def profile(self, plan: Any, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return how many activations of each row (0-based) are nonzero before each layer and after the last.

        Shape (n_layers + 1, len(rows)). Many threads may call it at once. Raises ValueError for a plan that cannot do it; that
        of kernel "auto" can.
        """

    def layer_sizes(self, plan: Any) -> LayerSizes:
        """Return how large the layers are as they are run."""


class CostKind(NamedTuple):
    """The properties of a kernel with its options that its seconds depend on, for cost models.

    Attributes
    ----------
    parameters : str
        Under which name a calibration file has the kernel's parameters.
    unit : {"blocks", "columns", "rows"}
        "blocks": dense blocks of rows go through all layers, one after the other. Else a row group goes from layer to layer as
        a whole, and a team cuts each layer by its columns, or the row group by its rows.
    prunes : bool
        Rows that have become all zero are dropped.
    block_rows : int, optional
        Rows of a block; None: as calibrated.
    row_unit : int
        Rows that a block adds at a time.
    loads_by_rows : bool
        Blocks are loaded through the first layer, entry by entry.
    """

    parameters: str
    unit: Literal["blocks", "columns", "rows"]
    prunes: bool
    block_rows: int | None = None
    row_unit: int = 1
    loads_by_rows: bool = False


@runtime_checkable
class CostedBackend(ProfilingBackend, Protocol):
    """A backend whose kernels can be simulated: it counts the work, and says what the seconds for it depend on."""

    def cost_kind(self, options: KernelOptions) -> CostKind:
        """Return what the seconds of a kernel depend on; `options` has its full name."""


class RunSize(NamedTuple):
    """The size of a run, as far as it is known before anything is loaded.

    Attributes
    ----------
    neurons, layers : int
        Of a network whose layers are all as wide as its input.
    connections, distinct_connections : int
        Of all layers; and of their columns that differ from each other.
    distinct_outputs : int
        Outputs of a layer whose columns differ from each other.
    instances, nonzeros : int
        Of the inputs.
    threads : int
        Of all processes on the node.
    """

    neurons: int
    layers: int
    connections: int
    distinct_connections: int
    distinct_outputs: int
    instances: int
    nonzeros: int
    threads: int

    @property
    def id_bytes(self) -> int:
        """Bytes of a neuron's id in the smallest unsigned type that holds all of them."""
        return 2 if self.neurons <= 2**16 else 4


PLAIN_ENTRY_BYTES = 8
"""Bytes of a connection in the plainest sparse layout: a float32 value and an int32 index."""


class MemoryBytes(NamedTuple):
    """Bytes of host memory that a run takes besides the network and the inputs.

    Attributes
    ----------
    plan : int
        The network in the kernel's layout, at its peak while it is put together.
    activations : int
        Of all threads.
    """

    plan: int
    activations: int

    @classmethod
    def plain(cls, size: RunSize, entry_bytes: int = PLAIN_ENTRY_BYTES) -> Self:
        """Return the bytes of a plain layout: `entry_bytes` a connection, and sparse activations as dense as the inputs.

        It is what a backend that does not say is taken for.
        """
        return cls(entry_bytes * size.connections, (size.id_bytes + 4) * size.nonzeros)


@runtime_checkable
class SizedBackend(Backend, Protocol):
    """A backend that can say how much memory a run takes, so that one that cannot fit is refused before it is made."""

    def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Return what a run of that size takes; `options` has a kernel's full name.

        Options that the kernel does not support make no difference: a plan that cannot be streamed is counted as in memory.
        """


@runtime_checkable
class CompactBackend(Backend, Protocol):
    """A backend with kernels that read 16-bit ids, and a value that all entries have, as they are (``CompactRows``)."""

    compact_kernels: Collection[str]
    """Full names of these kernels."""

    def warm_up_compact(self, plan: Any, empty: Any) -> None:
        """Compile as `Backend.warm_up` does, for row groups of compact rows; `empty` are as many as a group has, all zero."""


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """A backend whose workers are not threads on cores, but streams of devices that a node's processes share."""

    def place(self, node_rank: int, node_size: int) -> int:
        """Choose the devices of this process, one of `node_size` on its node; return how many workers to use unless told
        otherwise. Called before anything else."""


@runtime_checkable
class InputsBackend(Backend, Protocol):
    """A backend that gets ready for the inputs before the clock is on: that lets devices copy from their memory, say."""

    def take_inputs(self, plan: Any, inputs: sp.csr_array) -> None:
        """Get ready for row groups of these inputs; computes nothing of them.

        Called before each run: what was made ready for the same inputs is good for all.
        """


class DirectOutcome(Enum):
    """How a direct call ended: with the right result, refused since an input is not finite, or with an output that is not."""

    RIGHT = "right"
    NOT_FINITE = "not finite"
    OVERFLOW = "overflow"


class DirectNetwork(Protocol):
    """A network that takes dense batches in one compiled call, and the threads that wait for such calls."""

    kernel: str
    """The kernel's own name."""

    columns: str
    """Treatment of equal columns of a layer: none or merge."""

    tolerance: float | None
    """As of `PlanDescription`."""

    weights: str
    """Format of the weights as they are packed: float32, bfloat16 or float16."""

    @property
    def n_bytes(self) -> int:
        """Bytes of its layout, as it is packed by now, and of its activations."""

    @property
    def saved(self) -> int:
        """Connections that the last call did not touch, since their inputs were zero."""

    connections: int
    """Connections that an instance goes through: fewer than the network's where columns are merged."""

    def run(self, x: NDArray[np.float32], out: NDArray[np.float32]) -> DirectOutcome:
        """Write the last activations of `x` (instances, inputs) into `out` (instances, outputs); both of any strides.

        One thread may call it at a time. If an input is not finite, nothing has been done.
        """

    def close(self) -> None:
        """End its threads; it cannot be run any more."""


class DirectSize(NamedTuple):
    """How large a network is that is packed for direct calls.

    Attributes
    ----------
    kernel : str
        The kernel's own name.
    connections : int
        That an instance goes through: fewer than the network's where columns are merged.
    n_bytes : int
        Of the packed layers, about; they take twice as much while they are packed.
    how : str
        How threads share a call, in a few words.
    """

    kernel: str
    connections: int
    n_bytes: int
    how: str = "threads share it"


@runtime_checkable
class DirectBackend(Backend, Protocol):
    """A backend that also takes dense batches directly: without scheduler, row groups or sparse inputs."""

    direct_kernels: Collection[str]
    """Names of kernels, as a caller gives them, with which it does."""

    def direct_size(self, network: Network, options: KernelOptions) -> DirectSize:
        """Return how large the network is that `direct` would pack, by the sizes of the layers: it may turn out smaller."""

    def warm_up_direct(self, outline: NetworkOutline, kernel: str, weights: str) -> None:
        """Compile, or load from the cache, all that direct calls of such networks need; `kernel` is a full name.

        `weights` is the format that these are rounded to; see `OptimizeOptions`.
        """

    def direct(self, network: Network, options: KernelOptions, n_threads: int) -> DirectNetwork:
        """Return the network packed and ready for direct calls, with everything compiled.

        Raises MemoryShortageError where it does not fit.
        """
