"""What the plans of all formats have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.column_merging import MergedColumns, saturated_rows_stay
from backends.common.column_ordering import computing_order
from backends.numba_cpu.kernels.team import Place, hold_meeting
from backends.numba_cpu.layout.files import Packed, packed_files
from backends.numba_cpu.layout.packing import Connections, NeuronPacker, Neurons, Packer, StoreMaker, memory_store
from backends.numba_cpu.layout.reader import LayerReader
from sparsednn.backend import (
    Control,
    CostKind,
    Crew,
    GroupResult,
    KernelOptions,
    LayerSizes,
    MemoryBytes,
    Optimizations,
    PlanDescription,
    RunSize,
)
from sparsednn.errors import OptionError
from sparsednn.network import AnyLayer, Network
from sparsednn.system.memory import require

CACHE_LINE_BYTES = 64
GROWTH = 1.25
"""Room is made for this much more than is needed, so that it is not made at every layer."""


@dataclass(slots=True)
class Group:
    """A row group in the memory of the worker that opened it; its crew may be others.

    Attributes
    ----------
    work : NamedTuple
        The kernel's arrays (its `state` says how far it has come).
    worker, n_rows : int
    sums : float64 array, shape (n_rows,)
    wants_output : bool
    extra : the format's own
    """

    work: Any
    worker: int
    n_rows: int
    sums: NDArray[np.float64]
    wants_output: bool
    extra: Any = None


class Plan(ABC):
    """A network packed for one kernel, and the memory that each worker uses again for group after group."""

    streams = False
    """Whether the layers may be in files."""

    row_unit = 1
    """See `sparsednn.backend.Backend.row_unit`."""

    def __init__(self, network: Network, kernel: str, options: KernelOptions, n_workers: int) -> None:
        self.kernel = kernel
        self.options = options
        packed = self._packed(network, n_workers)
        self.neurons: Neurons = packed.neurons
        self.connections: Connections = packed.connections
        self.n_connections, self.stands_for = packed.n_connections, packed.stands_for
        if self.row_work(options) not in ("retire", "merge"):
            self.neurons = self.neurons._replace(full_stays=np.zeros(len(network.layers) + 1, np.bool_))
        self.prune = options.rows != "none"
        self.widest = int(self.neurons.widths.max())
        self.memory: list[Any] = [None] * n_workers
        self.accumulators: list[Any] = [None] * n_workers

    def _packed(self, network: Network, n_workers: int) -> Packed:
        """Pack the network in memory; or in files, from which a thread reads it."""
        self.reader: LayerReader | None = None
        folder = self.options.stream_from
        if folder is None:
            return self._pack(network, memory_store)
        if not self.streams:
            raise OptionError(
                f"network.residency=stream: kernel={self.kernel} keeps the network in memory; use adaptive or udc_csc"
            )
        about = f"columns={self.column_work(self.options)} order={self.order(self.options)}"
        packed, segments, path = packed_files(network, about, folder, lambda store: self._pack(network, store))
        self.reader = LayerReader(segments, n_workers, path)
        return packed

    def _pack(self, network: Network, store: StoreMaker) -> Packed:
        """Pack the network into stores."""
        merged = MergedColumns(network) if self.column_work(self.options) == "merge" else None
        neurons, packer = NeuronPacker(network, store), self.packer(network, store)
        sizes: list[int] = []
        for layer in network.layers if merged is None else merged.layers():
            stored, order = computing_order(layer, self.order(self.options))
            neurons.add(layer, order)
            packer.add(layer, stored)
            sizes.append(layer.nnz)
        last = np.arange(network.n_outputs, dtype=np.int32) if merged is None else merged.last
        stands_for = None if merged is None else merged.stands_for
        return Packed(neurons.pack(saturated_rows_stay(network), last), packer.pack(), np.array(sizes, np.int64), stands_for)

    def first_layer_of(self, network: Network) -> AnyLayer:
        """Return the first layer as it is run."""
        if self.column_work(self.options) == "merge":
            return next(MergedColumns(network).layers())
        return network.layers[0]

    def order(self, options: KernelOptions) -> str:
        """Order in which a layer's outputs are computed; only dense blocks gain from another than the given one."""
        return "given"

    def row_work(self, options: KernelOptions) -> str:
        """How work on rows is avoided: what was asked for, as far as the kernel goes with it."""
        return "none" if options.rows == "none" else "prune"

    def column_work(self, options: KernelOptions) -> str:
        """How work on columns is avoided: a kernel that adds terms in the order they are stored can merge equal columns."""
        return options.columns

    @abstractmethod
    def packer(self, network: Network, store: StoreMaker) -> Packer:
        """Return what packs the layers of a network into stores."""

    @classmethod
    @abstractmethod
    def cost_kind(cls, options: KernelOptions) -> CostKind:
        """See `CostedBackend.cost_kind`."""

    @classmethod
    @abstractmethod
    def memory_bytes(cls, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """See `SizedBackend.memory_bytes`; arrays that are joined of one part a layer are there twice for a moment."""

    @abstractmethod
    def open(self, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, output: bool) -> Group:
        """See `Backend.open`."""

    @abstractmethod
    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run the group on; returns what made the kernel leave: `team.THROUGH`, `STOPPED`, `CALLED` or `GROW`."""

    @abstractmethod
    def grow(self, group: Group) -> None:
        """Make the room that a kernel has asked for."""

    @abstractmethod
    def close(self, group: Group) -> GroupResult:
        """See `Backend.close`."""

    def warm_up(self, empty: sp.csr_array) -> None:
        """Compile by running a row group in which every instance is zero, with the stop flag set."""
        rows = np.arange(empty.shape[0], dtype=np.int64)
        control, crew = Control.for_workers(1), Crew.of((0,))
        control.request_stop()
        place = Place(crew.shared, 0, 1, 0, control.flags, control.calls[0], control.progress[0], crew.logs[0])
        hold_meeting(place)
        for output in (False, True):
            group = self.open(empty, rows, 0, output)
            self.run(group, place, 0)
            self.close(group)

    def layer_sizes(self) -> LayerSizes:
        """See `ProfilingBackend.layer_sizes`."""
        net = self.neurons
        return LayerSizes(net.widths[:-1].copy(), net.widths[1:].copy(), self.n_connections, net.full_stays[:-1].copy())

    def describe(self) -> PlanDescription:
        """Name the kernel and the optimisations that are on."""
        columns = self.column_work(self.options)
        on = Optimizations(
            rows=self.row_work(self.options),
            columns=columns,
            order=self.order(self.options),
            structure_aware=columns == "merge",
            residency="memory" if self.reader is None else "stream",
        )
        return PlanDescription(self.kernel, on)


def aligned_floats(n: int) -> NDArray[np.float32]:
    """Return `n` uninitialised float32 that start at a cache line, so that no vector straddles two."""
    n_bytes = 4 * n
    require(n_bytes, "activations", "use fewer threads or a smaller backend.block_rows")
    raw = np.empty(n_bytes + CACHE_LINE_BYTES, np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE_BYTES
    return raw[offset : offset + n_bytes].view(np.float32)


def entries(n: int, ids: type[np.uint16] | type[np.uint32]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return room for `n` sparse entries: ids and values."""
    require(n * (np.dtype(ids).itemsize + 4), "sparse activations", "use more row groups, or kernel=udc_csc")
    return np.empty(n, ids), np.empty(n, np.float32)
