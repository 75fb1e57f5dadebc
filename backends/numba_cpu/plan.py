"""Implements what the plans of all formats have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.column_merging import MergedColumns, saturated_rows_stay
from backends.common.column_ordering import computing_order
from backends.common.short_weights import format_of
from backends.numba_cpu.kernels.team import Place, hold_meeting
from backends.numba_cpu.layout.arrays import join_packed, split_packed
from backends.numba_cpu.layout.files import Packed, packed_files
from backends.numba_cpu.layout.neurons import NeuronPacker, Neurons
from backends.numba_cpu.layout.packing import ColumnPacker, Connections, Packer
from backends.numba_cpu.layout.reader import LayerReader
from backends.numba_cpu.layout.stores import StoreMaker, memory_store
from sparsednn.backend import (
    CostKind,
    GroupResult,
    KernelOptions,
    LayerSizes,
    MemoryBytes,
    Optimizations,
    PlanDescription,
    RunSize,
    StoredLayout,
)
from sparsednn.errors import OptionError
from sparsednn.network import AnyLayer, Network
from sparsednn.system.memory import require
from sparsednn.system.parallel import ahead

CACHE_LINE_BYTES = 64
GROWTH = 1.25
"""Room is made for this much more than is needed, so that it is not made at every layer."""


@dataclass(frozen=True, slots=True)
class Format:
    """The format in which a kernel takes a network, and the optimisations that it supports.

    Attributes
    ----------
    packer : callable
        Makes what packs the layers of a network into stores: ``packer(network, store=store)``.
    rows, columns : str
        How work on rows and on columns is avoided (see `KernelOptions`).
    order : str
        In which order a layer's outputs are computed.
    is_dense : bool
        Whether layers are stored dense.
    streams : bool
        Whether layers may be in files.
    weights : str
        Format in which weights are stored that are rounded to it.
    """

    packer: Callable[..., Packer]
    rows: str
    columns: str = "none"
    order: str = "given"
    is_dense: bool = False
    streams: bool = False
    weights: str = "float32"


@dataclass(slots=True)
class Group:
    """A row group in the memory of the worker that opened it; its team may be others.

    Attributes
    ----------
    work : NamedTuple
        The kernel's arrays (its `state` says how far it has come).
    worker, n_rows : int
    sums : float64 array, shape (n_rows,)
    wants_output : bool
    """

    work: Any
    worker: int
    n_rows: int
    sums: NDArray[np.float64]
    wants_output: bool


class Plan(ABC):
    """A network packed for one kernel, and the memory that each worker uses again for group after group.

    It is packed when a plan is made of it, or was before: then the plan is made of what another one has returned (`store`).

    Methods that have the names of those of `sparsednn.backend.Backend` do what these do.
    """

    row_unit = 1
    """Instances that the kernel takes at a time, however few there are."""

    def __init__(self, network: Network | StoredLayout, kernel: str, options: KernelOptions, n_workers: int) -> None:
        self.kernel, self.options, self.format = kernel, options, self.format_of(kernel, options)
        self.reader: LayerReader | None = None
        self.packed = join_packed(network) if isinstance(network, StoredLayout) else self._packed(network, n_workers)
        self.neurons: Neurons = self.packed.neurons
        self.connections: Connections = self.packed.connections
        self.n_connections, self.stands_for = self.packed.n_connections, self.packed.stands_for
        if self.format.rows not in ("retire", "merge"):
            self.neurons = self.neurons._replace(full_stays=np.zeros(len(self.neurons.widths), np.bool_))
        self.prune = options.rows != "none"
        self.widest = int(self.neurons.widths.max())
        self.memory: list[Any] = [None] * n_workers
        self.accumulators: list[Any] = [None] * n_workers

    def _packed(self, network: Network, n_workers: int) -> Packed:
        """Pack the network in memory; or in files, from which a thread reads it."""
        folder = self.options.stream_from
        if folder is None:
            return self._pack(network, memory_store)
        if not self.format.streams:
            kept = f"kernel={self.kernel} keeps the network in memory"
            raise OptionError(f"residency=stream: {kept}; use rowwise_first or udc_csc")
        about = f"columns={self.format.columns} order={self.format.order}"
        about += "" if self.format.weights == "float32" else f" weights={self.format.weights}"
        packed, segments, path = packed_files(network, about, folder, lambda store: self._pack(network, store))
        self.reader = LayerReader(segments, n_workers, path)
        return packed

    def _pack(self, network: Network, store: StoreMaker) -> Packed:
        """Pack the network into stores."""
        merged = MergedColumns(network) if self.format.columns == "merge" else None
        neurons, packer = NeuronPacker(network, store), self.format.packer(network, store=store)
        sizes: list[int] = []
        for layer in network.layers if merged is None else ahead(merged.layers()):
            neurons.add(layer, self._add(packer, layer))
            sizes.append(layer.nnz)
        last = np.arange(network.n_outputs, dtype=np.int32) if merged is None else merged.last
        stands_for = None if merged is None else merged.stands_for
        return Packed(
            neurons=neurons.pack(saturated_rows_stay(network), last),
            connections=packer.pack(),
            n_connections=np.array(sizes, np.int64),
            stands_for=stands_for,
        )

    def _add(self, packer: Packer, layer: AnyLayer) -> NDArray[np.int64] | None:
        """Pack a layer; return the order in which its outputs are computed (None: as they are)."""
        if isinstance(packer, ColumnPacker) and (groups := packer.groups_of(layer)) is not None:
            packer.add_groups(groups)
            return groups.order
        stored, order = computing_order(layer, self.format.order)
        packer.add(layer, stored)
        return order

    def store(self) -> StoredLayout:
        """Return what the plan is made of; a plan of the same kernel and options can be made of that."""
        if self.reader is not None:
            raise OptionError("residency=stream: the packed layers are in files already; use residency=memory")
        return split_packed(self.packed, **self._stored_beside())

    def _stored_beside(self) -> dict[str, Any]:
        """Return named tuples that belong to the plan beside the packed layers."""
        return {}

    def first_layer_of(self, network: Network) -> AnyLayer:
        """Return the first layer as it is run."""
        if self.format.columns == "merge":
            return next(MergedColumns(network).layers())
        return network.layers[0]

    @classmethod
    @abstractmethod
    def format_of(cls, kernel: str, options: KernelOptions) -> Format:
        """Return how a kernel (its full name) wants a network."""

    @classmethod
    @abstractmethod
    def cost_kind(cls, options: KernelOptions) -> CostKind:
        """Return what the seconds of the kernel depend on."""

    @classmethod
    @abstractmethod
    def memory_bytes(cls, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Return what a run takes of memory; arrays that are joined of one part a layer are there twice for a moment."""

    @abstractmethod
    def open(self, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> Group:
        """Bring rows of the inputs into the kernel's format."""

    @abstractmethod
    def run(self, group: Group, place: Place, worker: int) -> int:
        """Run the group on; returns what made the kernel leave: `team.THROUGH`, `STOPPED`, `CALLED` or `GROW`."""

    @abstractmethod
    def grow(self, group: Group) -> None:
        """Make the room that a kernel has asked for."""

    @abstractmethod
    def close(self, group: Group) -> GroupResult:
        """Return the results of a group that is through."""

    def warm_up(self, empty: sp.csr_array) -> None:
        """Compile by running a row group in which every instance is zero, with the stop flag set."""
        rows = np.arange(empty.shape[0], dtype=np.int64)
        place = Place.for_warm_up()
        hold_meeting(place)
        for output in (False, True):
            group = self.open(empty, rows, 0, output=output)
            self.run(group, place, 0)
            self.close(group)

    def layer_sizes(self) -> LayerSizes:
        """Return the sizes of the layers, with merged columns counted once."""
        net = self.neurons
        return LayerSizes(
            n_inputs=net.widths[:-1].copy(),
            n_outputs=net.widths[1:].copy(),
            connections=self.n_connections,
            full_stays=net.full_stays[:-1].copy(),
        )

    def describe(self) -> PlanDescription:
        """Name the kernel and the optimisations that are on."""
        on = Optimizations(
            rows=self.format.rows,
            columns=self.format.columns,
            order=self.format.order,
            structure_aware=self.format.columns == "merge",
            residency="memory" if self.reader is None else "stream",
            stored_weights=None if self.options.weights == "float32" else format_of(self.connections.weights),
        )
        return PlanDescription(self.kernel, on)


def aligned_floats(n: int) -> NDArray[np.float32]:
    """Return `n` uninitialised float32 that start at a cache line, so that no vector straddles two."""
    n_bytes = 4 * n
    require(n_bytes, "activations", "use fewer threads or a smaller block_rows")
    raw = np.empty(n_bytes + CACHE_LINE_BYTES, np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE_BYTES
    return raw[offset : offset + n_bytes].view(np.float32)


def entries(n: int, ids: type[np.uint16] | type[np.uint32]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return room for `n` sparse entries: ids and values."""
    require(n * (np.dtype(ids).itemsize + 4), "sparse activations", "use more row groups, or kernel=udc_csc")
    return np.empty(n, ids), np.empty(n, np.float32)


def two_sides(nnz: int, ids: type[np.uint16] | type[np.uint32]) -> dict[str, NDArray[Any]]:
    """Return ids and values of two matrices that swap at every layer; only the first has room for `nnz` entries."""
    (ids0, values0), (ids1, values1) = entries(nnz + 1, ids), entries(1, ids)
    return {"ids0": ids0, "ids1": ids1, "values0": values0, "values1": values1}


def fits(work: Any, n_rows: int, nnz: int, ids: type[np.uint16] | type[np.uint32]) -> bool:
    """Return whether the memory of an earlier row group has room for another one, with the same type of ids."""
    return work is not None and len(work.rows) >= n_rows and len(work.ids0) > nnz and work.ids0.dtype == ids


def with_room(work: Any, needed: int, side: int) -> Any:
    """Return the same work with room for `needed` entries in the matrix that is to be written, which is not `side`.

    The entries that were in it are not needed any more.
    """
    ids, values = entries(int(needed * GROWTH) + 1, work.ids0.dtype.type)
    return work._replace(ids1=ids, values1=values) if side == 0 else work._replace(ids0=ids, values0=values)


def n_entries(inputs: sp.csr_array, rows: NDArray[np.int64]) -> int:
    """Return how many entries some rows have."""
    return int((inputs.indptr[rows + 1] - inputs.indptr[rows]).sum(dtype=np.int64))
