"""Implements the reference backend: one scipy product a layer.

scipy's sparse product adds the terms of each output in the order of the input row's entries, multiply and add rounded
separately, and sorting the row's entries makes that order ascending: the order that every kernel must keep.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.backend import (
    DONE,
    SCORE,
    Control,
    CostKind,
    GroupResult,
    KernelOptions,
    LayerSizes,
    MemoryBytes,
    Optimizations,
    Outcome,
    PlanDescription,
    RunSize,
    Team,
    require_in_memory,
)
from sparsednn.errors import OptionError
from sparsednn.network import Activation, Network


@dataclass(frozen=True, slots=True)
class ReferencePlan:
    """Each layer as a csr_array, with its bias and activation."""

    weights: list[sp.csr_array]
    biases: list[NDArray[np.float32]]
    activations: list[Activation]
    bias_on: str


@dataclass(slots=True)
class ReferenceGroup:
    """The activations of a row group after `layer` layers."""

    activations: sp.csr_array
    layer: int = 0
    multiply_adds: int = 0


class ScipyReferenceBackend:
    """``Y @ W`` a layer in float32; no optimisation."""

    name = "scipy_reference"
    same_bits: Collection[str] = ("csr_csr",)
    own_threads = False
    plans_can_be_shared: Collection[str] = ("memory",)
    kernels: Mapping[str, str] = {"auto": "csr_csr", "csr": "csr_csr", "csr_csr": "csr_csr"}

    schedulers: Mapping[str, tuple[str, ...]] = {"csr_csr": ("data", "manager_worker", "work_stealing", "global_work_stealing")}

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> ReferencePlan:
        """Convert the layers to csr_array; optimisations are not used here."""
        require_in_memory(self, options)
        return ReferencePlan(
            weights=[layer.to_scipy().tocsr() for layer in network.layers],
            biases=[layer.bias for layer in network.layers],
            activations=[layer.activation for layer in network.layers],
            bias_on=network.bias_on,
        )

    def warm_up(self, plan: ReferencePlan, largest_group: int) -> None:
        """Do nothing: scipy is compiled already."""

    def open(
        self, plan: ReferencePlan, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool
    ) -> ReferenceGroup:
        """Take a copy of the rows."""
        return ReferenceGroup(inputs[rows])

    def run(self, plan: ReferencePlan, group: ReferenceGroup, control: Control, team: Team, member: int) -> Outcome:
        """Run layer by layer; there are no teams here."""
        if len(team.workers) > 1:
            raise OptionError(f"backend={self.name} has no teams; use backend=numba for model parallelism")
        leader, n_rows, fresh = team.workers[0], group.activations.shape[0], True
        while group.layer < len(plan.weights):
            if (outcome := control.must_leave(leader, group.layer, fresh=fresh)) is not None:
                return outcome
            fresh = False
            weights = plan.weights[group.layer]
            n_ops = int(np.diff(weights.indptr)[group.activations.indices].sum())
            group.multiply_adds += n_ops
            team.count(member, n_ops)
            group.activations = next_activations(
                group.activations, weights, plan.biases[group.layer], plan.bias_on, plan.activations[group.layer]
            )
            group.layer += 1
            control.progress[leader, DONE] += n_rows
            control.progress[leader, SCORE] = group.layer
        return Outcome.THROUGH

    def close(self, plan: ReferencePlan, group: ReferenceGroup) -> GroupResult:
        """Add up each row."""
        y = group.activations
        return GroupResult(y @ np.ones(y.shape[1]), group.multiply_adds, y)

    def profile(self, plan: ReferencePlan, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run layer by layer and count the entries of each row."""
        activations, counts = inputs[rows], [np.diff(inputs[rows].indptr)]
        for weights, bias, activation in zip(plan.weights, plan.biases, plan.activations, strict=True):
            activations = next_activations(activations, weights, bias, plan.bias_on, activation)
            counts.append(np.diff(activations.indptr))
        return np.array(counts, np.int32)

    def row_unit(self, plan: Any) -> int:
        """One: rows are independent of each other."""
        return 1

    def cost_kind(self, options: KernelOptions) -> CostKind:
        """That of a kernel of the same formats: this one is not calibrated by itself."""
        return CostKind("csr_csr", "rows", prunes=options.rows != "none")

    def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """A float32 value and an int32 index for each connection."""
        return MemoryBytes.plain(size)

    def describe(self, plan: ReferencePlan) -> PlanDescription:
        """Name the only kernel, which has no optimisation."""
        return PlanDescription("csr_csr", Optimizations(rows="none", columns="none", order="given", structure_aware=False))

    def layer_sizes(self, plan: ReferencePlan) -> LayerSizes:
        """Return the sizes of the network's layers."""
        shapes = np.array([weights.shape for weights in plan.weights], np.int64)
        connections = np.array([weights.nnz for weights in plan.weights], np.int64)
        return LayerSizes(
            n_inputs=shapes[:, 0], n_outputs=shapes[:, 1], connections=connections, full_stays=np.zeros(len(shapes), np.bool_)
        )


def next_activations(
    y: sp.csr_array, weights: sp.csr_array, bias: NDArray[np.float32], bias_on: str, activation: Activation
) -> sp.csr_array:
    """Return ``activation(Y @ W + bias)`` with sorted indices and no explicit zeros."""
    z = y @ weights
    if bias_on == "all":
        return sp.csr_array(activation(z.toarray() + bias))
    if activation(np.zeros_like(bias)).any():  # a sum of zero, which has no entry, becomes something else
        sums = z.toarray()
        return sp.csr_array(activation(np.where(sums != 0, sums + bias, sums)))
    z.eliminate_zeros()
    z.data = activation.taken(z.indices)(z.data + bias[z.indices])
    z.eliminate_zeros()
    z.sort_indices()
    return z
