"""Implements the Numba backend: a plan for each pair of activation format and layer format."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.schedulable import FORECAST, TEAMS
from backends.numba_cpu.kernels.team import CALLED, GROW, STOPPED, THROUGH, Place, hold_meeting
from backends.numba_cpu.layout.files import FORMAT
from backends.numba_cpu.plan import Group, Plan
from sparsednn.backend import (
    Control,
    CostKind,
    DirectNetwork,
    DirectSize,
    GroupResult,
    KernelOptions,
    LayerSizes,
    MemoryBytes,
    Outcome,
    PlanDescription,
    RunSize,
    StoredLayout,
    Team,
    kernel_name,
)
from sparsednn.network import Network, NetworkOutline

if TYPE_CHECKING:
    from backends.numba_cpu.dense.blas_direct import BlockNetwork
    from backends.numba_cpu.dense.direct import SlicedNetwork

FORMATS = {
    "rowwise_first": "dense",
    "udc_udc": "dense",
    "udc_csc": "dense",
    "csc_udc": "csc",
    "csc_csc": "csc",
    "dcsc_csc": "csc",
    "csr_csr": "csr",
    "blas": "dense",
    "fast": "dense",
}
"""The format of the activations of each kernel, which is the folder of its plan."""

THROUGH_BLAS = ("blas", "fast")
"""Kernels that add up sums in BLAS's order: they are taken only if they are asked for by name."""


def plan_class(kernel: str) -> type[Plan]:
    """Return the class of plans of a kernel, given by its full name; other formats' kernels are not imported for it."""
    match FORMATS[kernel]:
        case "dense" if kernel in THROUGH_BLAS:
            from backends.numba_cpu.dense.blas_plan import BlasPlan

            return BlasPlan
        case "dense":
            from backends.numba_cpu.dense.plan import DensePlan

            return DensePlan
        case "csc" if kernel == "dcsc_csc":
            from backends.numba_cpu.csc.dcsc_plan import DcscPlan

            return DcscPlan
        case "csc":
            from backends.numba_cpu.csc.plan import CscPlan

            return CscPlan
    from backends.numba_cpu.csr.plan import CsrPlan

    return CsrPlan


OUTCOMES = {THROUGH: Outcome.THROUGH, STOPPED: Outcome.STOPPED, CALLED: Outcome.CALLED}


class NumbaBackend:
    """Kernels for the formats of the paper: input format, then layer format.

    UDC is uncompressed dense columns. ``auto`` takes dense blocks of instances and sparse layers (``udc_csc``).
    """

    name = "numba"
    same_bits: Collection[str] = tuple(kernel for kernel in FORMATS if kernel not in THROUGH_BLAS)
    compact_kernels: Collection[str] = tuple(kernel for kernel, activations in FORMATS.items() if activations == "dense")
    direct_kernels: Collection[str] = ("auto", *THROUGH_BLAS)
    own_threads = False
    plans_can_be_shared: Collection[str] = ("memory",)
    layout_version = FORMAT
    layout_options: Collection[str] = ("kernel", "columns", "order", "weights")
    kernels: Mapping[str, str] = {
        "auto": "rowwise_first",
        **{name: name for name in FORMATS},
        "udc": "udc_csc",
        "csc": "csc_csc",
        "dcsc": "dcsc_csc",
        "csr": "csr_csr",
    }
    schedulers: Mapping[str, tuple[str, ...]] = {
        "rowwise_first": FORECAST,
        "udc_udc": ("data", "model"),
        "udc_csc": FORECAST,
        "csc_udc": ("data", "model"),
        "csc_csc": FORECAST,
        "dcsc_csc": FORECAST,
        "csr_csr": tuple(name for name in FORECAST if name != "model"),
        "blas": TEAMS,
        "fast": TEAMS,
    }

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> Plan:
        """Pack the layers into flat arrays in the kernel's format."""
        kernel = kernel_name(self, options.kernel)
        return plan_class(kernel)(network, kernel, options, n_workers)

    def warm_up(self, plan: Plan, largest_group: int) -> None:
        """Run the plan's kernels on an empty row group, with the dtypes that groups up to `largest_group` rows will have."""
        width = int(plan.neurons.widths[0])
        plan.warm_up(sp.csr_array((largest_group, width), dtype=np.float32))

    def warm_up_compact(self, plan: Plan, empty: Any) -> None:
        """Run the plan's kernels on compact rows."""
        plan.warm_up(empty)

    def open(self, plan: Plan, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool) -> Group:
        """Bring rows of the input into the kernel's format."""
        return plan.open(inputs, rows, worker, output=output)

    def run(self, plan: Plan, group: Group, control: Control, team: Team, member: int) -> Outcome:
        """Run kernels until the group is through or they have to leave; all members meet while the leader makes more room."""
        place, worker = Place.of(team, control, member), team.workers[member]
        while (status := plan.run(group, place, worker)) == GROW:
            if member == 0:
                plan.grow(group)
            if not hold_meeting(place):
                return Outcome.STOPPED
        return OUTCOMES[status]

    def close(self, plan: Plan, group: Group) -> GroupResult:
        """Collect sums, counts and output."""
        return plan.close(group)

    def profile(self, plan: Plan, inputs: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Count nonzeros with the plan of kernel udc_csc."""
        from backends.numba_cpu.dense.profile import count_nonzeros

        return count_nonzeros(plan, inputs, rows)

    def row_unit(self, plan: Plan) -> int:
        """Return how many instances the kernel takes at a time."""
        return plan.row_unit

    def cost_kind(self, options: KernelOptions) -> CostKind:
        """Return what the seconds of the kernel's plan depend on."""
        return plan_class(options.kernel).cost_kind(options)

    def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Return the memory of a run with the kernel's plan."""
        return plan_class(options.kernel).memory_bytes(size, options)

    def describe(self, plan: Plan) -> PlanDescription:
        """Name the kernel and the optimisations that are on."""
        return plan.describe()

    def direct(self, network: Network, options: KernelOptions, n_threads: int) -> DirectNetwork:
        """Pack the network in slices, or in blocks for BLAS, and start the threads."""
        if _takes_blocks(options.kernel, network.outline()):
            from backends.numba_cpu.dense import blas_direct

            return blas_direct.packed(network, options, n_threads)
        from backends.numba_cpu.dense.direct import SlicedNetwork
        from backends.numba_cpu.layout.sliced_network import packed

        return SlicedNetwork(packed(network, options), n_threads)

    def direct_size(self, network: Network, options: KernelOptions) -> DirectSize:
        """Count the columns that differ; padding is not counted."""
        if _takes_blocks(options.kernel, network.outline()):
            from backends.numba_cpu.dense import blas_direct

            return blas_direct.direct_size(network, options)
        from backends.numba_cpu.layout.sliced_network import direct_size

        return direct_size(network, options)

    def warm_up_direct(self, outline: NetworkOutline, kernel: str, weights: str) -> None:
        """Compile for the types of ids and of weights that the network will have."""
        if _takes_blocks(kernel, outline):
            from backends.numba_cpu.dense import blas_direct

            blas_direct.warm_up(outline, kernel)
            return
        from backends.numba_cpu.dense.direct import warm_up

        warm_up(outline, weights)

    def store_plan(self, plan: Plan) -> StoredLayout:
        """Return the arrays of a plan."""
        return plan.store()

    def restore_plan(self, stored: StoredLayout, options: KernelOptions, n_workers: int) -> Plan:
        """Make a plan of its arrays."""
        return plan_class(options.kernel)(stored, options.kernel, options, n_workers)

    def store_direct(self, direct: SlicedNetwork | BlockNetwork) -> StoredLayout:
        """Return the arrays of a network for direct calls."""
        return direct.store()

    def restore_direct(self, stored: StoredLayout, n_threads: int) -> DirectNetwork:
        """Start threads for a network that was stored."""
        from backends.numba_cpu.dense import blas_direct

        if blas_direct.is_stored(stored):
            return blas_direct.restored(stored, n_threads)
        from backends.numba_cpu.dense.direct import SlicedNetwork
        from backends.numba_cpu.layout.sliced_network import restored

        return SlicedNetwork(restored(stored), n_threads)

    def layer_sizes(self, plan: Plan) -> LayerSizes:
        """Sizes with merged columns counted once."""
        return plan.layer_sizes()


def _takes_blocks(kernel: str, network: NetworkOutline) -> bool:
    """Whether direct calls of a kernel take blocks and BLAS; what decides it is imported for those kernels only."""
    if kernel not in THROUGH_BLAS:
        return False
    from backends.numba_cpu.dense.blas_layers import takes_blocks

    return takes_blocks(kernel, network)
