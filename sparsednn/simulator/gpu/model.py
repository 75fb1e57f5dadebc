"""Predicts what row groups take on a GPU: the largest of its bounds for each layer, or the host that launches it.

A kernel takes as long as the scarcest of what it needs: slots for instructions, lanes for multiplications and additions, shared
memory, L2, the device's memory; as in roofline models (Williams et al., CACM 52(4), 2009), with counts of the machine code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsednn.backend import CostKind, LayerLaunch
from sparsednn.simulator.calibration import Calibration
from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.gpu.card import Card
from sparsednn.simulator.work import Floats, GroupCosts, GroupWork, Ints, Overheads

LANES, LOAD_BYTES, FLOAT_BYTES, ENTRY_BYTES = 32, 16, 4, 4
OPERATIONS = 2
"""A multiply-add is a multiplication and an addition, which are not fused."""

MOST_ROWS = 2**16
"""Instances that a device takes at a time unless told otherwise."""

BOUNDS = ("instructions", "lanes", "shared memory", "L2", "memory", "launch")
"""What can bound a kernel, in the order of `GpuCostModel.bounds`."""

SAVES = 7 / 8
"""Instances are dropped where no more than this share is left."""


class GpuCostModel(CostModel):
    """Seconds of row groups on GPUs of one kind, in place of those on cores.

    Parameters
    ----------
    card : Card
    launches : sequence of LayerLaunch
        Of a plan; none, before there is one.
    n_workers : int
        Streams of a process: its host launches for all of them in turn, as Python does.
    n_devices : int, optional
        Devices of a process; None: as many as a simulated node has cores.
    """

    def __init__(
        self, card: Card, launches: Sequence[LayerLaunch] = (), n_workers: int = 1, n_devices: int | None = None
    ) -> None:
        super().__init__(Calibration(card.content, card.source))
        self.card, self.launches, self.n_workers, self.n_devices = card, tuple(launches), n_workers, n_devices

    def of_plan(self, launches: Sequence[LayerLaunch], n_workers: int) -> GpuCostModel:
        """Return the model of a plan."""
        return GpuCostModel(self.card, launches, n_workers, self.n_devices)

    def require_calibrated(self, kind: CostKind) -> None:
        """Do nothing: whether a kernel's machine code is counted, the backend says."""

    @property
    def core_speed(self) -> float:
        """Speed of the devices; 1: the card."""
        return self.card["core_speed"]

    def block_rows(self, kind: CostKind) -> int:
        """Return how many instances a device takes at a time: what is asked for, or what fits."""
        widest = max([1, *(max(one.n_inputs, one.n_outputs) for one in self.launches)])
        fitting = int(0.8 * self.card["memory_bytes"] / (2 * FLOAT_BYTES * widest))
        unit = kind.row_unit
        return max(min(kind.block_rows or MOST_ROWS, fitting) // unit * unit, unit)

    def bounds(self, rows: Ints) -> Floats:
        """Return what each bound asks of each layer's kernel: float64, shape (n_layers, bounds), see `BOUNDS`, in seconds.

        rows : int64 (n_layers,)    instances, whole tiles of them
        """
        card, one = self.card, _Counts.of(self.launches)
        clock_s = 1 / card["clock_hz"]
        tiles = np.ceil(rows / (LANES * LOAD_BYTES / FLOAT_BYTES))
        busy = np.minimum(np.maximum(one.blocks * tiles, 1), card["multiprocessors"]) * card["compute_share"]
        done = rows * one.terms
        activations = FLOAT_BYTES * rows * (one.n_inputs + one.n_outputs)
        l2 = card["l2_bytes_per_clock"] / clock_s * card["memory_share"]
        staged = one.shared_loads > 0
        loaded = done * np.where(staged, one.shared_loads, one.global_loads) * LOAD_BYTES
        found = np.stack(
            [
                done * one.instructions / LANES / card["issues"] * clock_s / busy,
                done * OPERATIONS / card["lanes"] * clock_s / busy,
                loaded / card["shared_bytes_per_clock"] * clock_s / busy,
                np.where(staged, activations, loaded) / l2,
                np.where(activations <= card["l2_bytes"] / 2, 0, activations + one.n_bytes)
                / (card["memory_bytes_per_s"] * card["memory_share"]),
                np.full(len(self.launches), card["launch_s"]),
            ],
            axis=1,
        )
        found[rows == 0] = 0
        return found

    def layers_s(self, rows: Ints) -> Floats:
        """Return what the device takes for each layer; rows : int64 (n_layers,), of one block."""
        found: Floats = self.bounds(rows).max(axis=1, initial=0.0)
        return found

    def costs(self, works: Sequence[GroupWork], kind: CostKind, n_cores: int = 2**31) -> list[GroupCosts]:
        """Return what each row group costs; devices are alike, so that `n_cores` makes no difference."""
        return [self._costs_of(work, kind) for work in works]

    def _costs_of(self, work: GroupWork, kind: CostKind) -> GroupCosts:
        card, rows = self.card, rows_left(work, kind)
        block = self.block_rows(kind)
        n_blocks: Floats = np.ceil(rows / block)
        whole, rest = rows // block, rows % block
        padded = np.ceil(rest / kind.row_unit).astype(np.int64) * kind.row_unit
        device_s = whole * self.layers_s(np.full_like(rows, block)) + self.layers_s(padded)
        host_s = n_blocks * card["host_launch_s"] * self.n_workers
        layers_s = np.maximum(device_s, host_s)
        looks = np.append(_checkpoints(len(rows))[1:], False) & kind.prunes  # after a layer
        looking_s = looks * n_blocks * card["checkpoint_s"]
        alone_s = layers_s + looking_s
        share = float((looking_s + layers_s - device_s).sum() / max(alone_s.sum(), 1e-12))
        copied_s = FLOAT_BYTES * rows * work.n_outputs / card["peer_bytes_per_s"] / card["memory_share"]
        slower = 1 + float(copied_s.sum() / max(layers_s.sum(), 1e-12))
        multiply_adds: Floats = np.multiply(rows, work.connections, dtype=np.float64)
        columns = np.array([one.blocks for one in self.launches], np.int64)
        return GroupCosts(
            self._open_s(work, rows), self._memory_s(rows[-1] * work.n_outputs[-1]), alone_s, share, columns, n_blocks,
            multiply_adds, multiply_adds / np.maximum(n_blocks, 1), slower,
        )  # fmt: skip

    def _open_s(self, work: GroupWork, rows: Ints) -> float:
        """Inputs come from the host, and are spread out."""
        uploaded_s = ENTRY_BYTES * float(work.nnz_in[0]) / (self.card["host_bytes_per_s"] * self.card["memory_share"])
        return uploaded_s + self._memory_s(rows[0] * work.n_inputs[0])

    def _memory_s(self, n_floats: int) -> float:
        return FLOAT_BYTES * float(n_floats) / (self.card["memory_bytes_per_s"] * self.card["memory_share"])

    def overheads(self, n_workers: int, n_cores: int) -> Overheads:
        """Return what the protocol costs: the scheduler's decisions are Python, as everything on the host."""
        meeting_s = np.full(n_workers + 1, self.card["meeting_s"])
        meeting_s[:2] = 0
        launch_s = self.card["host_launch_s"]
        return Overheads(launch_s, self.card["meeting_s"], self.card["meeting_s"], meeting_s)

    def slowdown(self, kind: CostKind, n_workers: int, n_cores: int, n_processes: int = 1) -> Floats:
        """Return how much longer everything takes while n workers are active: those of one device share it."""
        n_devices = min(self.n_devices or n_cores, n_cores)
        found: Floats = np.maximum(np.arange(n_workers + 1) * n_processes / n_devices, 1.0)
        return found

    def gather_s(self, n_processes: int, n_bytes: int) -> float:
        """Return how long it takes to collect `n_bytes` of all processes in one."""
        if n_processes == 1:
            return 0.0
        steps = int(np.ceil(np.log2(n_processes)))
        return self.card["network_latency_s"] * steps + n_bytes / self.card["network_bytes_per_s"]

    def fixed_s(self, n_rows: int) -> float:
        """Return what a run takes besides its row groups."""
        return self.card["run_s"]


@dataclass(frozen=True, slots=True)
class _Counts:
    """The counts of layers, each an array of shape (n_layers,)."""

    n_inputs: Floats
    n_outputs: Floats
    terms: Floats
    blocks: Floats
    n_bytes: Floats
    instructions: Floats
    shared_loads: Floats
    global_loads: Floats

    @classmethod
    def of(cls, launches: Sequence[LayerLaunch]) -> _Counts:
        return cls(*(np.array([getattr(one, name) for one in launches], np.float64) for name in cls.__slots__))


def rows_left(work: GroupWork, kind: CostKind) -> Ints:
    """Return how many instances each layer is computed for: they are dropped at checkpoints, if that saves an eighth."""
    if not kind.prunes:
        return np.full_like(work.rows_alive, work.n_rows)
    needed = np.where(work.zeros_stay, work.rows_alive, work.n_rows) - np.where(work.full_stays, work.rows_full, 0)
    rows, left, looks = np.empty_like(work.rows_alive), int(work.rows_alive[0]), _checkpoints(len(needed))
    for layer, need in enumerate(np.maximum(needed, 0).tolist()):
        if looks[layer] and work.zeros_stay[layer] and need <= SAVES * left:
            left = need
        rows[layer] = left
    return rows


def _checkpoints(n_layers: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say before which layers instances are looked at, as `backends.common.row_results.checkpoints` does."""
    layers = np.arange(n_layers)
    found = np.zeros(n_layers, np.bool_)
    power = 1
    while power < n_layers:
        found |= (layers == power) | ((layers == power * 3 // 2) & (power > 1))
        power *= 2
    return found
