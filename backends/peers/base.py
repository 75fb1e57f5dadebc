"""Implements what all peers share: libraries with threads of their own that multiply layers by dense blocks.

Each layer is the transpose of its weights in CSR form (its CSC arrays as they are), and activations are dense blocks of
[neuron][instance], narrow enough to stay in the caches. The bias is one more input neuron that is always 1, so that the library
adds it; activation and dropping of dead instances are passes over a block in the caches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.row_results import checkpoints
from backends.peers.blocks import BlockGroup, Float32, with_bias
from sparsednn.backend import (
    DONE,
    SCORE,
    Control,
    GroupResult,
    KernelOptions,
    MemoryBytes,
    Optimizations,
    Outcome,
    PlanDescription,
    RunSize,
    Team,
    kernel_name,
    require_clamps,
    require_in_memory,
    tolerance_of,
)
from sparsednn.errors import MissingPackageError, OptionError
from sparsednn.network import Activation, AnyLayer, BiasOn, Network
from sparsednn.system.memory import require

INSTALL = "install it with: pip install -e '.[peers]'"


def peer_package(name: str) -> Any:
    """Import a package that only a peer needs.

    Raises
    ------
    ImportError
        Naming the extra that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackageError(f"{error}; {INSTALL}") from error


@dataclass(frozen=True, slots=True)
class PeerLayer:
    """A layer in the library's own form.

    Attributes
    ----------
    weights : the library's own sparse matrix, shape (n_outputs + 1, n_inputs + 1)
        The transpose of the weights; last column: the bias, or zeros where it is `late`. The last row is empty.
    n_outputs, nnz : int
    activation : Activation
    late_bias : float32 array, shape (n_outputs, 1), or None
        A bias that has to be added after the product, where this is not zero.
    """

    weights: Any
    n_outputs: int
    nnz: int
    activation: Activation
    late_bias: Float32 | None


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """A network in the library's own form.

    Attributes
    ----------
    layers : list of PeerLayer
    n_inputs : int
    n_threads : int
        Threads of the library.
    prune : bool
        Drop dead instances.
    droppable : bool array, shape (n_layers,)
        Whether a row of zeros before a layer is one after the last layer.
    checkpoints : list of int
        The layer that each stage begins with, then the number of layers.
    block_rows : int
    """

    layers: list[PeerLayer]
    n_inputs: int
    n_threads: int
    prune: bool
    droppable: NDArray[np.bool_]
    checkpoints: list[int]
    block_rows: int


class PeerBackend(ABC):
    """One worker that calls a library, which brings its own threads and its own order of additions."""

    name: str
    kernels: Mapping[str, str] = {"auto": "udc_csc", "udc_csc": "udc_csc", "udc": "udc_csc"}
    schedulers: Mapping[str, tuple[str, ...]] = {"udc_csc": ("data",)}
    same_bits: Collection[str] = ()
    own_threads = True
    plans_can_be_shared: Collection[str] = ()

    block_rows: int
    """Instances in a block unless told otherwise: the best for this library."""

    entry_bytes: int
    """Bytes of the library for each connection: value and indices, and its own copy if it makes one."""

    @abstractmethod
    def weights(self, matrix: sp.csr_array) -> Any:
        """Return a float32 csr_array in the library's own form."""

    @abstractmethod
    def through(self, plan: PeerPlan, stage: int, block: Float32) -> Float32:
        """Return what the layers of a stage make of a block."""

    @abstractmethod
    def set_threads(self, n_threads: int) -> int:
        """Set how many threads the library uses for calls of this thread, and return how many they were."""

    def alive(self, block: Float32, activation: Activation) -> NDArray[np.bool_]:
        """Say which columns of what an activation has made are not all zero."""
        return np.asarray(block.max(axis=0) != 0 if activation.low >= 0 else block.any(axis=0))

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> PeerPlan:
        """Hand the layers to the library, which is to use `n_workers` threads."""
        kernel_name(self, options.kernel)
        require_in_memory(self, options)
        require_clamps(network, f"backend={self.name}")
        require(
            self.network_bytes(network),
            f"backend={self.name}: a network of {network.nnz:,} connections",
            "use fewer neurons or layers",
        )
        before = self.set_threads(n_workers)
        try:
            layers = [self._layer(layer, network.bias_on) for layer in network.layers]
        finally:
            self.set_threads(before)
        return PeerPlan(
            layers=layers,
            n_inputs=network.n_inputs,
            n_threads=n_workers,
            prune=options.rows != "none",
            droppable=network.zero_rows_stay_zero(),
            checkpoints=[0, *checkpoints(len(layers)).tolist(), len(layers)],
            block_rows=options.block_rows or self.block_rows,
        )

    def network_bytes(self, network: Network) -> int:
        """Return the bytes that the library takes for a network: for its connections and biases."""
        return self.entry_bytes * sum(layer.nnz + layer.n_outputs for layer in network.layers)

    def _layer(self, layer: AnyLayer, bias_on: BiasOn) -> PeerLayer:
        """Where a bias would change a zero that it must not be added to, it is late."""
        is_late = bias_on == "nonzero" and bool(layer.activation(layer.bias).any())
        weights = self.weights(with_bias(layer, np.zeros_like(layer.bias) if is_late else layer.bias))
        late_bias = np.array(layer.bias)[:, None] if is_late else None
        return PeerLayer(weights, layer.n_outputs, layer.nnz, layer.activation, late_bias)

    def warm_up(self, plan: PeerPlan, largest_group: int) -> None:
        """Run a block of zeros, so that the library has loaded all that it loads at its first call."""
        n_rows = min(plan.block_rows, largest_group)
        group = self.open(plan, sp.csr_array((n_rows, plan.n_inputs), dtype=np.float32), np.arange(n_rows), 0, output=False)
        self.run(plan, group, Control.for_workers(1), Team.of((0,)), 0)

    def open(self, plan: PeerPlan, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> BlockGroup:
        """Point at the rows: blocks are made when their turn comes."""
        return BlockGroup(inputs, rows, n_stages=len(plan.checkpoints) - 1, n_outputs=plan.layers[-1].n_outputs, output=output)

    def run(self, plan: PeerPlan, group: BlockGroup, control: Control, team: Team, member: int) -> Outcome:
        """Run block by block; there are no teams here."""
        if len(team.workers) > 1:
            raise OptionError(f"backend={self.name} has no teams; use backend=numba for model parallelism")
        before = self.set_threads(plan.n_threads)
        try:
            return self._run(plan, group, control, team)
        finally:
            self.set_threads(before)

    def _run(self, plan: PeerPlan, group: BlockGroup, control: Control, team: Team) -> Outcome:
        leader, fresh = team.workers[0], True
        while (stage := group.next_stage(plan.block_rows)) is not None:
            if (outcome := control.must_leave(leader, int(control.progress[leader, SCORE]), fresh=fresh)) is not None:
                return outcome
            fresh = False
            finished, counted = self._step(plan, group, stage)
            team.count(0, counted)
            group.multiply_adds += counted
            group.n_finished += finished
            control.progress[leader, DONE] += finished
            control.progress[leader, SCORE] = group.n_finished // group.n_rows
        control.progress[leader, SCORE] = len(plan.layers)
        return Outcome.THROUGH

    def _step(self, plan: PeerPlan, group: BlockGroup, stage: int) -> tuple[int, int]:
        """Take a block through a stage; return instances x layers that are finished by that, and multiply-adds."""
        ids, block = group.take(stage, plan.block_rows)
        begin, end, n_layers = plan.checkpoints[stage], plan.checkpoints[stage + 1], len(plan.layers)
        stage_layers, block = plan.layers[begin:end], self.through(plan, stage, block)
        finished, counted = len(ids) * (end - begin), len(ids) * sum(layer.nnz for layer in stage_layers)
        if end == n_layers:
            group.finish(ids, block)
            return finished, counted
        if plan.prune and plan.droppable[end]:
            alive = self.alive(block[:-1], stage_layers[-1].activation)
            if not alive.all():
                finished += int(len(ids) - alive.sum()) * (n_layers - end)
                ids, block = ids[alive], block.compress(alive, axis=1)
        group.put(stage + 1, ids, block)
        return finished, counted

    def close(self, plan: PeerPlan, group: BlockGroup) -> GroupResult:
        """Bring the rows into their order."""
        return group.result()

    def row_unit(self, plan: Any) -> int:
        """One: rows are independent of each other."""
        return 1

    def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Return the memory of a run: `entry_bytes` for each connection."""
        return MemoryBytes.plain(size, self.entry_bytes)

    def describe(self, plan: PeerPlan) -> PlanDescription:
        """Name the kernel, the optimisations that are on and the block's size."""
        rows = "prune" if plan.prune else "none"
        on = Optimizations(rows=rows, columns="none", order="given", structure_aware=False, block_rows=plan.block_rows)
        return PlanDescription(self.kernels["auto"], on, tolerance=tolerance_of(len(plan.layers)))


class LayerwisePeer(PeerBackend):
    """A peer that is called once a layer, and whose activations are passes over its result."""

    @abstractmethod
    def multiply(self, weights: Any, block: Float32, out: Float32) -> tuple[Float32, Float32]:
        """Return `block` and ``weights @ block``, made in the memory of `out`."""

    def clamp(self, block: Float32, activation: Activation) -> None:
        """Apply an activation in place."""
        np.clip(block, np.float32(activation.low), np.float32(activation.high), out=block)

    def through(self, plan: PeerPlan, stage: int, block: Float32) -> Float32:
        """Take a block through the layers of a stage, one after the other."""
        spare = np.empty((0, 0), np.float32)
        for layer in plan.layers[plan.checkpoints[stage] : plan.checkpoints[stage + 1]]:
            block, spare = self._advance(layer, block, spare)
        return block

    def _advance(self, layer: PeerLayer, block: Float32, spare: Float32) -> tuple[Float32, Float32]:
        """Return the activations after a layer, and memory that is free by that."""
        shape = (layer.n_outputs + 1, block.shape[1])
        block, out = self.multiply(layer.weights, block, spare if spare.shape == shape else np.empty(shape, np.float32))
        if layer.late_bias is not None:
            np.add(out[:-1], layer.late_bias, out=out[:-1], where=out[:-1] != 0)
        if layer.activation.low > -np.inf or layer.activation.high < np.inf:
            self.clamp(out, layer.activation)
        out[-1] = 1
        return out, block
