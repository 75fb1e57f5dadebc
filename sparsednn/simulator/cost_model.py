"""Predicts seconds from work counts, with the parameters of a calibration file: sums of parameters times features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from sparsednn.backend import Backend, CostedBackend, CostKind, KernelOptions
from sparsednn.errors import OptionError
from sparsednn.simulator.calibration import Calibration, assuming, read_calibration
from sparsednn.simulator.features import Caches, features
from sparsednn.simulator.work import Floats, GroupCosts, GroupWork, Ints, Overheads


def cost_kind(backend: Backend, options: KernelOptions) -> CostKind:
    """Return what the seconds of a kernel (its full name in `options`) depend on.

    Raises
    ------
    ValueError
        If the backend does not say.
    """
    if not isinstance(backend, CostedBackend):
        raise OptionError(
            f"kernel={options.kernel}: backend={backend.name} does not say what its costs depend on, so that they cannot be "
            "predicted; use backend=numba"
        )
    return backend.cost_kind(options)


class CostModel:
    """Seconds of row groups, of the protocol, and of the cluster around it.

    Parameters
    ----------
    calibration : Calibration or Path, optional
        The one that comes with the package, unless another is given.
    """

    def __init__(self, calibration: Calibration | Path | None = None) -> None:
        self.calibration = calibration if isinstance(calibration, Calibration) else read_calibration(calibration)

    @cached_property
    def caches(self) -> Caches:
        """The caches of a core of the machine that was calibrated, in bytes."""
        return Caches(*(self.calibration.value("caches", name) for name in Caches._fields))

    def require_calibrated(self, kind: CostKind) -> None:
        """Raise ValueError if the calibration has no parameters for a kernel; the message has those it has."""
        self.calibration.kernel(kind.parameters)

    def costs(self, works: Sequence[GroupWork], kind: CostKind, n_cores: int = 2**31) -> list[GroupCosts]:
        """Return what each row group costs with a kernel, in a process that has `n_cores`.

        Raises
        ------
        ValueError
            If the kernel is not calibrated.
        """
        return [self._group_costs(work, kind, n_cores) for work in works]

    def block_rows(self, kind: CostKind) -> int:
        """Return how many rows the blocks have that a kernel was calibrated with."""
        return int(self.calibration.kernel(kind.parameters)["block_rows"]["value"])

    def _group_costs(self, work: GroupWork, kind: CostKind, n_cores: int) -> GroupCosts:
        kernel = self.calibration.kernel(kind.parameters)
        by_blocks = kind.unit == "blocks"
        counts = features(work, kind, self.caches, self.block_rows(kind) if by_blocks else 0)
        alone_s = sum(self._seconds(kernel, name, work.n_inputs) * count for name, count in counts.layers.items())
        group_s = {name: float(self._seconds(kernel, name, work.n_inputs[:1])[0]) * n for name, n in counts.group.items()}
        alone_s, multiply_adds, steps = np.asarray(alone_s), counts.multiply_adds, counts.steps
        step_work = multiply_adds / np.maximum(steps, 1)
        if by_blocks:  # block after block goes through all layers: each part of a group's time looks like any other
            step_work = np.full(len(steps), multiply_adds.sum() / max(steps.sum(), 1))
            alone_s, multiply_adds, steps = (np.full(len(x), x.mean()) for x in (alone_s, multiply_adds, steps))
        serial_share, team_factor = (
            float(self._seconds(kernel, name, work.n_inputs).mean()) for name in ("serial_share", "team_factor")
        )
        return GroupCosts(
            group_s["open_s"] + group_s["load_s"], group_s["sum_s"], alone_s, serial_share,
            counts.columns, steps * float(kernel["meetings"]["value"]), multiply_adds, step_work,
            team_factor, n_cores,
        )  # fmt: skip

    def _seconds(self, kernel: dict[str, object], name: str, neurons: Ints) -> Floats:
        """Return a parameter at a number of neurons, interpolated in its table by their logarithms."""
        numbers, values = zip(*self.calibration.table(kernel, name), strict=True)
        if len(values) == 1:
            return np.full(len(neurons), values[0])
        found: Floats = np.interp(np.log2(np.maximum(neurons, 1)), np.log2(numbers), values)
        return found

    def overheads(self, n_workers: int, n_cores: int) -> Overheads:
        """Return what the protocol of one process costs; meetings are dearer with more workers than cores."""
        table = self.calibration.table(self.calibration.content["overheads"], "barrier_s")
        members = np.arange(n_workers + 1)
        barrier_s = _along(table, np.log2(np.maximum(members, 1)), np.log2([number for number, _ in table]))
        if n_workers > n_cores:
            barrier_s = np.full(n_workers + 1, self._overhead("barrier_shared_core_s"))
        barrier_s[:2] = 0
        return Overheads(self._overhead("decision_s"), self._overhead("wake_s"), self._overhead("start_s"), barrier_s)

    def slowdown(self, kind: CostKind, n_workers: int, n_cores: int, n_processes: int = 1) -> Floats:
        """Return how much longer everything takes while n workers of a process are active, for n from 0 to `n_workers`.

        They share the memory bus of a node of `n_cores` with as many workers of each of its other processes, and the cores too
        if there are not enough. Shape (n_workers + 1,), float64.
        """
        table = self.calibration.table(self.calibration.kernel(kind.parameters), "slowdown")
        table = table if table[0][0] == 1 else [(1.0, 1.0), *table]
        active = np.arange(n_workers + 1) * n_processes
        bus = _along(table, np.clip(active, 1, n_cores), [number for number, _ in table])
        return bus * np.maximum(active / n_cores, 1)

    def gather_s(self, n_processes: int, n_bytes: int) -> float:
        """Return how long it takes to collect `n_bytes` of all processes in one: a tree of messages, and the bytes."""
        if n_processes == 1:
            return 0.0
        latency_s, rate = (self.calibration.value("assumed", name) for name in ("network_latency_s", "network_bytes_per_s"))
        return latency_s * int(np.ceil(np.log2(n_processes))) + n_bytes / rate

    def fixed_s(self, n_rows: int) -> float:
        """Return what a run of one process takes besides its row groups: splitting and collecting."""
        return self._overhead("run_s") + n_rows * self._overhead("row_s")

    @property
    def core_speed(self) -> float:
        """Speed of the cluster's cores; 1: the core that was calibrated."""
        return self.calibration.value("assumed", "core_speed")

    def _overhead(self, name: str) -> float:
        return self.calibration.value("overheads", name)


def calibrated_model(
    backend: Backend, kernel: KernelOptions, calibration: str | None, assume: Mapping[str, float]
) -> tuple[CostModel, CostKind]:
    """Return the cost model of a calibration file, with other assumptions in place, and what a kernel's seconds depend on.

    Raises
    ------
    ValueError
        If the backend does not say what they depend on, or the kernel is not calibrated.
    """
    model = CostModel(assuming(read_calibration(calibration), assume))
    kind = cost_kind(backend, kernel)
    model.require_calibrated(kind)
    return model, kind


def _along(table: Sequence[tuple[float, float]], at: Floats, numbers: Sequence[float] | Floats) -> Floats:
    """Values between those of a table, and beyond its end along its last two."""
    values = [value for _, value in table]
    found: Floats = np.interp(at, numbers, values)
    if len(values) > 1:
        slope = (values[-1] - values[-2]) / (numbers[-1] - numbers[-2])
        found = np.where(at > numbers[-1], values[-1] + slope * (at - numbers[-1]), found)
    return found
