"""Predicts seconds from work counts, with the parameters of a calibration file.

The seconds of a row group are sums of parameters times *features*, which are counts that a profile gives: so the parameters can
be fitted to measured times (see `experiments.calibrate.fitting`), and a layer's time is known for any row group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsednn.backend import Backend, CostedBackend, CostKind, KernelOptions
from sparsednn.errors import OptionError
from sparsednn.simulator.calibration import Calibration, assuming, read_calibration
from sparsednn.simulator.work import Floats, GroupCosts, GroupWork, Ints, Overheads


@dataclass(frozen=True, slots=True)
class Features:
    """The counts of one row group that its seconds are proportional to, by the names of the parameters.

    Attributes
    ----------
    group : dict of float
        Counts of the whole group: opening it, loading its inputs, adding up its outputs.
    layers : dict of float64 arrays, shape (n_layers,)
        Counts of each layer.
    multiply_adds, steps : float64 arrays, shape (n_layers,)
        Multiply-adds really done, and layer boundaries that the kernel comes to.
    columns : int64 array, shape (n_layers,)
        Parts into which a team can cut a layer.
    """

    group: dict[str, float]
    layers: dict[str, Floats]
    multiply_adds: Floats
    steps: Floats
    columns: Ints


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


def features(work: GroupWork, kind: CostKind, block_rows: int = 128) -> Features:
    """Return the features of a row group; `block_rows` is what blocks have unless the kind says."""
    rows = np.where(work.zeros_stay, work.rows_alive, work.n_rows)
    rows = rows if kind.prunes else np.full_like(work.rows_alive, work.n_rows)
    if kind.unit == "blocks":
        rows = np.maximum(rows - np.where(work.full_stays, work.rows_full, 0), 0)
        return _block_features(work, rows, kind.block_rows or block_rows, kind.row_unit, by_rows=kind.loads_by_rows)
    return _column_features(work, rows, by_rows=kind.unit == "rows", prunes=kind.prunes)


def _block_features(work: GroupWork, rows: Ints, block_rows: int, row_unit: int, *, by_rows: bool) -> Features:
    """Blocks of rows that are alive, rests of which are joined at once. By rows: the first layer is part of loading."""
    blocks = np.ceil(rows / block_rows)
    lanes = np.ceil(rows / row_unit) * row_unit
    layers = {
        "layer_s": blocks,
        "column_s": blocks * work.n_outputs,
        "connection_s": blocks * work.connections,
        "scan_s": lanes * work.n_outputs,
        "multiply_add_s": lanes * work.connections,
    }
    loaded = float(rows[0] * work.n_inputs[0])
    if by_rows:
        loaded = float(work.multiply_adds[0] + rows[0] * work.n_outputs[0])
        layers = {name: np.where(np.arange(len(rows)) == 0, 0.0, counts) for name, counts in layers.items()}
    group = {"open_s": 1.0, "load_s": loaded, "sum_s": float(rows[-1] * work.n_outputs[-1])}
    done = np.minimum(lanes, work.n_rows) * work.connections  # the dead are dropped by whole vectors
    return Features(group, layers, done, blocks, work.n_outputs)


def _column_features(work: GroupWork, rows: Ints, *, by_rows: bool, prunes: bool) -> Features:
    """Nonzeros by columns or rows; those of columns that hold every row that is alive are counted apart, for they go faster.

    There cannot be more such columns than the row with the fewest nonzeros has: in networks where rows end with all neurons
    active, that is how many there are.
    """
    rows = rows.copy()
    rows[0] = work.n_rows  # nothing is dropped before the first layer
    # columns are walked through for no row at all too, unless the kernel leaves when all rows are dead
    leaves = np.full(len(rows), True) if by_rows else work.zeros_stay & prunes
    running = np.where(leaves, rows > 0, True).astype(float)
    fan_out = work.connections / np.maximum(work.n_inputs, 1)
    full = np.minimum(work.least_nnz * work.rows_alive * fan_out, work.multiply_adds)
    layers = {
        "layer_s": running,
        "column_s": running * work.n_outputs,
        "connection_s": running * work.connections,
        "scan_s": rows * work.n_outputs.astype(float),
        "multiply_add_s": work.multiply_adds - full,
        "full_multiply_add_s": full,
        "entry_s": work.nnz_out.astype(float),
    }
    group = {"open_s": 1.0, "load_s": float(work.nnz_in[0]), "sum_s": float(work.nnz_out[-1])}
    columns = np.maximum(rows, 1).astype(np.int64) if by_rows else work.n_outputs
    return Features(group, layers, work.multiply_adds, running, columns)


class CostModel:
    """Seconds of row groups, of the protocol, and of the cluster around it.

    Parameters
    ----------
    calibration : Calibration or Path, optional
        The one that comes with the package, unless another is given.
    """

    def __init__(self, calibration: Calibration | Path | None = None) -> None:
        self.calibration = calibration if isinstance(calibration, Calibration) else read_calibration(calibration)

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
        counts = features(work, kind, self.block_rows(kind) if by_blocks else 0)
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
