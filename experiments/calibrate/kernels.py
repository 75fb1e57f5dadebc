"""Measures kernels on one thread with parts of networks, and fits the parameters of the cost model to their times."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import thread_time
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsednn
from experiments.calibrate.fitting import Fit, fit
from sparsednn.backend import Backend, Control, KernelOptions, ProfilingBackend
from sparsednn.execution.row_groups import RowGroups
from sparsednn.network import Network
from sparsednn.rows.partition import RowGroup, split_evenly
from sparsednn.simulator.calibration import KERNEL_PARAMETERS
from sparsednn.simulator.cost_model import cost_kind
from sparsednn.simulator.features import Caches, Features, features
from sparsednn.simulator.profile import measure_profile

KERNELS = {
    "rowwise_first": KernelOptions("rowwise_first"),
    "udc_csc": KernelOptions("udc_csc", rows="prune", columns="none"),
    "csc_csc": KernelOptions("csc_csc"),
    "csc_csc/paper": KernelOptions("csc_csc", rows="none", order="given", full_columns=False, empty_columns="walk"),
    "dcsc_csc": KernelOptions("dcsc_csc"),
    "csr_csr": KernelOptions("csr_csr"),
}
"""Options of the kernels of `sparsednn.simulator.calibration.KERNEL_PARAMETERS`, as they are run."""

BY_WIDTH = ("multiply_add_s", "full_multiply_add_s")
"""Parameters that depend on what fits into the caches, and so on the number of neurons."""

BLOCKS = ("rowwise_first", "udc_csc")
SPARSE = tuple(name for name in KERNELS if name not in BLOCKS)
NOT_TOLD_APART = dict.fromkeys(KERNELS, ("column_s",)) | dict.fromkeys(BLOCKS, ("column_s", "scan_s", "sum_s"))
"""Left at 0: every neuron of the networks has 32 connections, so that columns and connections are proportional."""

LONG_S, SHORT_S = 0.5, 0.1
"""What takes longer than the first is run twice in all, what is shorter than the second five times, all else three times."""


@dataclass(frozen=True, slots=True)
class Part:
    """Parts of a challenge network: as many first layers as each number says, with row groups of so many rows.

    They are drawn at random of the first `instances`. In wide networks it takes many layers until rows have all neurons
    active, as those that stay alive end: so `full` is the same with rows that have them from the first layer on, for the
    sparse kernels.
    """

    neurons: int
    layers: int
    instances: int
    cases: Mapping[int, tuple[int, ...]]
    full: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        cases = [
            f"first {depth} layers: {', '.join(map(str, sizes))} {rows}"
            for rows, cases in (("rows", self.cases), ("full rows", self.full))
            for depth, sizes in cases.items()
        ]
        return f"{self.neurons} x {self.layers}, {self.instances} instances ({'; '.join(cases)})"


FULL = (
    Part(
        1024,
        120,
        60_000,
        {
            1: (300, 8_000),
            3: (60, 2_000, 30_000),
            12: (17, 67, 300, 1_200, 4_800, 15_000, 30_000),
            40: (40, 300, 2_000),
            120: (17, 134, 1_000, 4_000),
        },
        {12: (8, 300)},
    ),
    Part(4096, 32, 6_000, {1: (300, 4_000), 4: (60, 1_500), 32: (17, 134, 800)}, {8: (8, 100)}),
    Part(16384, 20, 4_000, {1: (100, 2_500), 4: (30, 700), 20: (8, 40, 200, 800)}, {4: (2, 40)}),
    Part(65536, 12, 1_000, {1: (40,), 4: (20, 200), 12: (8, 40, 200)}, {2: (2, 20)}),
)
QUICK = (
    Part(1024, 120, 30_000, {2: (40, 2_000), 12: (17, 400, 15_000), 120: (17, 134, 1_000)}),
    Part(16384, 10, 1_000, {1: (60, 300), 4: (10, 60, 300), 10: (10, 60, 300)}),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run on one thread: CPU seconds, and the counts that they are to be explained by."""

    kernel: str
    neurons: int
    seconds: float
    counts: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedKernel:
    """A network packed for one kernel, and the inputs (canonical, float32) that it is measured with."""

    backend: Backend
    plan: Any
    inputs: sp.csr_array
    n_layers: int

    def row_groups(self, n_rows: int, n_groups: int, *, n_workers: int, n_cores: int) -> RowGroups:
        """Return the first `n_rows` inputs as row groups for workers that have so many cores."""
        groups = [RowGroup(self.inputs, rows, rows) for rows in split_evenly(n_rows, n_groups).groups]
        control = Control.for_workers(n_workers)
        return RowGroups(self.backend, self.plan, groups, control, n_layers=self.n_layers, n_cores=n_cores)


def cpu_s(job: PreparedKernel) -> float:
    """Run all instances as one row group on this thread; return CPU seconds, so that other programs do not count."""
    row_groups = job.row_groups(job.inputs.shape[0], 1, n_workers=1, n_cores=1)
    started_s = thread_time()
    row_groups.open(0, 0)
    row_groups.run(0, row_groups.team((0,)), 0)
    return thread_time() - started_s


def samples(parts: Sequence[Part], backend: ProfilingBackend, caches: Caches) -> list[Sample]:
    """Run all kernels on all parts, on a machine with such caches."""
    rng = np.random.default_rng(0)
    found = []
    for part in parts:
        network = sparsednn.radixnet(part.neurons, part.layers)
        inputs = sparsednn.challenge_inputs(part.neurons, part.instances)
        drawn = {d: [inputs[np.sort(rng.choice(part.instances, n, replace=False))] for n in s] for d, s in part.cases.items()}
        full = {d: [sp.csr_array(np.ones((n, part.neurons), np.float32)) for n in s] for d, s in part.full.items()}
        for cases, kernels in ((drawn, KERNELS), (full, SPARSE)):
            for depth, chosen in cases.items():
                first = Network.from_layers(network.layers[:depth], "nonzero")
                found += _samples_of(first, chosen, backend, caches, kernels)
    return found


def _samples_of(
    network: Network, inputs: Sequence[sp.csr_array], backend: ProfilingBackend, caches: Caches, kernels: Collection[str]
) -> list[Sample]:
    """Run some kernels on one network, with many inputs."""
    found = []
    profiles = [measure_profile(network, rows, 1, backend, cache=False) for rows in inputs]
    for name in kernels:
        options = KERNELS[name]
        plan = backend.prepare(network, options, 1)
        for rows, profile in zip(inputs, profiles, strict=True):
            work = profile.as_run(backend.layer_sizes(plan)).group_work(np.arange(rows.shape[0]))
            counts = features(work, cost_kind(backend, options), caches)
            width = int(work.n_inputs[1:].max(initial=0) or work.n_inputs[0])
            backend.warm_up(plan, rows.shape[0])
            job = PreparedKernel(backend, plan, rows, len(network.layers))
            first_s = cpu_s(job)
            again = [cpu_s(job) for _ in range(4 if first_s < SHORT_S else 2 if first_s < LONG_S else 1)]
            # The median: what is predicted is a usual run, not the fastest one
            found.append(Sample(name, width, max(median([first_s, *again]), 1e-7), _sums(counts)))
    return found


def _sums(counts: Features) -> dict[str, float]:
    return counts.group | {name: float(layers.sum()) for name, layers in counts.layers.items()}


def fit_kernel(name: str, found: Sequence[Sample]) -> tuple[Fit, int]:
    """Fit the parameters of one kernel; those by width are ``parameter@neurons``. Returns the number of samples too."""
    own = [sample for sample in found if sample.kernel == name]
    columns: dict[str, list[float]] = {}
    for parameter in own[0].counts:
        if parameter in NOT_TOLD_APART[name]:
            continue
        for width in sorted({sample.neurons for sample in own}) if parameter in BY_WIDTH else (None,):
            key = parameter if width is None else f"{parameter}@{width}"
            columns[key] = [sample.counts[parameter] * (width in (None, sample.neurons)) for sample in own]
    columns = {key: counts for key, counts in columns.items() if any(counts)}
    return fit(columns, [sample.seconds for sample in own]), len(own)


NOT_APART = "cannot be told apart from the others in networks where every neuron has 32 connections"
WHY_NOT = {
    "beyond_l1_s": "no row group was so large (csr: it depends on none)",
    "beyond_l2_s": "no row group had so many activations",
    "beyond_l3_s": "no row group had so many activations",
}
"""Why a parameter was not fitted, if for another reason."""

UNITS = {
    "open_s": "s per row group",
    "load_s": "s per input entry (udc: per input neuron of each row)",
    "sum_s": "s per output entry (udc: per output neuron of each row)",
    "layer_s": "s per layer (udc: and block)",
    "column_s": "s per output neuron (udc: and block)",
    "connection_s": "s per connection (udc: and block)",
    "visit_s": "s per connection whose input has an entry",
    "scan_s": "s per row and output neuron",
    "multiply_add_s": "s per multiply-add",
    "full_multiply_add_s": "s per multiply-add of a full column",
    "entry_s": "s per nonzero output",
    "beyond_l1_s": "s per multiply-add whose accumulator is not in the first cache",
    "beyond_l2_s": "s per multiply-add whose entry is not in the second cache (csr: per entry)",
    "beyond_l3_s": "s per multiply-add whose entry is not in the last cache (csr: per entry)",
}


def entry(value: float, unit: str, source: str, note: str) -> dict[str, Any]:
    """Return a parameter as calibration files have it."""
    return {"value": float(f"{value:.4g}"), "unit": unit, "source": source, "note": note}


def kernel_parameters(name: str, found: Sequence[Sample]) -> dict[str, Any]:
    """Return the seconds of one kernel, fitted to its samples, as parameters with their notes."""
    fitted, n_samples = fit_kernel(name, found)
    note = f"fitted to the CPU times (medians) of {n_samples} cases on one thread; median error {fitted.median_error:.1%}"
    parameters: dict[str, Any] = {}
    for parameter in KERNEL_PARAMETERS[name]:
        if parameter not in UNITS:
            continue
        unit = UNITS[parameter]
        by_width = {key.split("@")[1]: s for key, s in fitted.parameters.items() if key.startswith(f"{parameter}@")}
        if by_width:
            parameters[parameter] = {width: entry(s, unit, "measured", note) for width, s in by_width.items()}
        elif parameter in fitted.parameters:
            parameters[parameter] = entry(fitted.parameters[parameter], unit, "measured", note)
        else:
            parameters[parameter] = entry(0.0, unit, "assumed", WHY_NOT.get(parameter, NOT_APART))
    return parameters
