"""Runs the roofline's probes: each does a known amount of work per turn, on one thread or on several at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.dense.kernels.pools import Column
from backends.numba_cpu.dense.memory import far_bytes
from backends.numba_cpu.dense.plan import DensePlan
from backends.numba_cpu.layout.kernels.groups import GROUP
from backends.numba_cpu.layout.packing import column_spans
from backends.numba_cpu.plan import aligned_floats
from experiments.roofline.kernels import machine as kernels
from experiments.roofline.model import FLOAT_BYTES, MEMORY, Cache, Work, set_sizes, tiles
from sparsednn.backend import KernelOptions
from sparsednn.data.radixnet import CHALLENGE_BIAS, CHALLENGE_DENSE_WIDTH, MAXIMUM, radixnet
from sparsednn.network import Network, clipped_relu

UNDISTURBED = 0.97
"""Part of a measurement that a thread must have had a core; with less, others have had it, and used its caches."""

MOST_TRIES = 3
PATIENCE_S = 12.0

CALIBRATIONS = 4
"""The first ones time calls more than turns."""

LEAST_PASSES = 16
"""Through a set that a cache is to hold, so that bringing it in does not count."""

_FACTOR, _TERM = np.float32(0.5), np.float32(1)

Memory = NDArray[np.float32]


@dataclass(slots=True)
class Probe:
    """One kind of work.

    Attributes
    ----------
    about : dict
        Its kind and parameters, for the record.
    amount : int
        Work of one turn: multiply-adds or bytes.
    n_bytes : int
        Memory of a thread that it uses.
    run : callable
        ``run(memory, n_turns)``
    least_turns, n_turns : int
        Turns that a measurement takes at least, and that it takes.
    rates : list of float
        Measured rates: work per second that threads have a core, of all threads together.
    """

    about: dict[str, Any]
    amount: int
    n_bytes: int
    run: Callable[[Memory, int], None]
    least_turns: int = 1
    n_turns: int = 1
    rates: list[float] = field(default_factory=list)


class ProbeThreads:
    """Threads, each with memory of its own, that run a probe at the same time; not pinned, like the threads of a run.

    A measurement during which a thread was without a core is made again, up to `MOST_TRIES` times and `patience_s` in all.

    Attributes
    ----------
    n_measured, n_disturbed : int
        How many measurements there are, and of how many each try was disturbed.
    """

    def __init__(self, n_threads: int, n_bytes: int, patience_s: float = PATIENCE_S) -> None:
        self.n_measured = self.n_disturbed = 0
        self._patience_s = patience_s
        self._pool = ThreadPoolExecutor(n_threads)
        self._memory = list(self._together(n_threads, lambda number: _touched(n_bytes // FLOAT_BYTES)))

    def rate(self, probe: Probe, n_threads: int) -> float:
        """Run a probe on so many threads at once; return the sum of what each does per second that it has a core.

        Wall clock time would count what other programs do: with one of them on the same core, all rates are halved.
        """
        best_share, rate = -1.0, 0.0
        for _ in range(MOST_TRIES):
            spans = list(self._together(n_threads, lambda number: _timed(probe, self._memory[number])))
            elapsed_s = max(elapsed_s for elapsed_s, _ in spans)
            share = min(busy_s / max(elapsed_s, 1e-9) for elapsed_s, busy_s in spans)
            if share > best_share:
                best_share = share
                rate = sum(probe.amount * probe.n_turns / max(busy_s, 1e-9) for _, busy_s in spans)
            if share >= UNDISTURBED or self._patience_s <= 0:
                break
            self._patience_s -= elapsed_s
        self.n_measured += 1
        self.n_disturbed += best_share < UNDISTURBED
        return rate

    def calibrate(self, probe: Probe, least_s: float) -> None:
        """Choose how many turns take `least_s` on one thread, by the time it has a core; the first call compiles."""
        probe.run(self._memory[0], 1)
        for _ in range(CALIBRATIONS):
            _, busy_s = _timed(probe, self._memory[0])
            probe.n_turns = max(probe.least_turns, round(probe.n_turns * least_s / max(busy_s, 1e-6)))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _together(self, n_threads: int, act: Callable[[int], Any]) -> Iterable[Any]:
        """Call `act` on so many threads, none before all are there."""
        barrier = threading.Barrier(n_threads)

        def one(number: int) -> Any:
            barrier.wait()
            return act(number)

        return self._pool.map(one, range(n_threads))


def _touched(n: int) -> Memory:
    """Activations, written once by the thread that will use them; none is so small that arithmetic with it is slow."""
    memory, values = aligned_floats(n), np.random.default_rng(0).random(1 << 16, np.float32)
    for at in range(0, n, len(values)):  # np.resize would make all of it twice
        memory[at : at + len(values)] = values[: n - at]
    return memory


def _timed(probe: Probe, memory: Memory) -> tuple[float, float]:
    """Run a probe; return how long it took, and how long the thread had a core meanwhile."""
    start_s, busy_s = time.perf_counter(), time.thread_time()
    probe.run(memory, probe.n_turns)
    return time.perf_counter() - start_s, time.thread_time() - busy_s


def machine_probes(levels: Sequence[Cache], n_threads: int, most_bytes: int) -> list[Probe]:
    """Return the probes of arithmetic and of every level's bandwidth, with vectors of each width.

    No set that is loaded is larger than `most_bytes`.
    """
    probes = []
    for lanes in kernels.LANES:
        for name, chains in (("unfused", kernels.UNFUSED[lanes]), ("fused", kernels.FUSED[lanes])):
            about = {"kind": "arithmetic", "name": name, "lanes": lanes, "set_bytes": 0}
            n = kernels.N_CHAINS * lanes
            probes.append(Probe(about, n, FLOAT_BYTES * n, _run_chains(chains, n)))
        for name, wanted_bytes in set_sizes(levels, n_threads).items():
            n_bytes = min(wanted_bytes, most_bytes)
            about = {"kind": "bandwidth", "name": name, "lanes": lanes, "set_bytes": n_bytes}
            amount = FLOAT_BYTES * kernels.N_LOADS * lanes
            least = n_bytes // amount * (1 if name == MEMORY else LEAST_PASSES)
            run = _run_loads(kernels.LOADS[lanes], n_bytes // FLOAT_BYTES, lanes)
            probes.append(Probe(about, amount, n_bytes, run, least))
    return probes


def _run_chains(chains: Any, n: int) -> Callable[[Memory, int], None]:
    return lambda memory, n_turns: chains(memory[:n].copy(), _FACTOR, _TERM, n_turns)


def _run_loads(loads: Any, n: int, lanes: int) -> Callable[[Memory, int], None]:
    def run(memory: Memory, n_turns: int) -> None:
        loads(memory[:n].view(np.int32), n - 1, n_turns, np.zeros(kernels.N_LOADS * lanes, np.int32))

    return run


class LayerCase:
    """One layer on blocks of any width, as the dense-block kernel runs it, whose outputs are computed again and again.

    Parameters
    ----------
    network : Network
        Its last layer is the one that is run, with the layers before it there for what merging makes of its inputs.
    columns : {"none", "merge"}
        Whether equal columns are computed once.
    """

    def __init__(self, network: Network, columns: str) -> None:
        plan = DensePlan(network, "udc_csc", KernelOptions(kernel="udc_csc", rows="none", columns=columns), 1)
        self.columns = columns
        self.net, self.conn, self.layer = plan.neurons, plan.connections, len(network.layers) - 1
        self.n_slots = n_slots(plan.widest)
        empty = aligned_floats(0)
        self.spans = np.stack(column_spans(self.conn, self.layer, int(self.net.widths[self.layer + 1])))
        self._column = Column(np.empty(0, self.conn.ids.dtype), empty, empty, empty, np.empty(0, np.int32), far_bytes())

    def work(self, stride: int) -> Work:
        """Count what the layer does to a block of `stride` instances."""
        n_inputs, n_outputs = (int(width) for width in self.net.widths[self.layer : self.layer + 2])
        degrees, stored = self.spans[1], np.unique(self.spans[0], return_index=True)[1]
        weight_bytes = self.conn.weights.itemsize * int(self.conn.weight_step[self.layer])
        n_grouped = int(degrees[: GROUP * self.conn.n_groups[self.layer]].sum())
        n_stored, n_all = int(degrees[stored].sum()), int(degrees.sum())
        id_bytes = self.conn.ids.itemsize + weight_bytes
        return Work(n_inputs, n_outputs, n_all, n_stored, stride, id_bytes, n_grouped, weight_bytes)

    def bytes_in_order(self, stride: int, levels: Sequence[Cache], n_threads: int) -> dict[str, int]:
        """Count the bytes that each level has to deliver in the order in which the kernel works, with LRU caches."""
        work = self.work(stride)
        needed = {levels[0].name: work.loaded_bytes}
        tile_bytes = FLOAT_BYTES * np.array(tiles(stride), np.int64)
        chunk = np.unique(self.spans[0], return_inverse=True)[1].astype(np.int64)
        chunk_bytes = self.spans[1] * work.id_bytes
        n_grouped = GROUP * self.conn.n_groups[self.layer]
        chunk_bytes[:n_grouped] += self.spans[1, :n_grouped] * work.weight_bytes * (GROUP - 1)
        for level, beyond in zip(levels, [*(level.name for level in levels[1:]), MEMORY], strict=True):
            capacity = level.capacity_bytes(n_threads)
            needed[beyond] = 0
            if work.set_bytes > capacity:  # else all of it stays there
                args = (self.net, self.conn, self.layer, self.spans, self.n_slots, tile_bytes, chunk, chunk_bytes, capacity)
                needed[beyond] = int(kernels.count_missed(*args))
        return needed

    def run(self, memory: Memory, stride: int, n_turns: int) -> NDArray[np.float32]:
        """Run the layer so many times between the two blocks that `memory` starts with; return the blocks."""
        n = self.n_slots * stride
        blocks = memory[: 2 * n].reshape(2, n)
        kernels.layer_in_turn(self.net, self.conn, self.layer, blocks, stride, self._column, n_turns)
        return blocks

    def probe(self, name: str, neurons: int, stride: int) -> Probe:
        """Return the probe that runs the layer on `stride` instances, once a turn; its work is multiply-adds."""
        work = self.work(stride)
        sizes = {"loaded_bytes": work.loaded_bytes, "stored_bytes": work.stored_bytes, "set_bytes": work.set_bytes}
        about = {"name": name, "neurons": neurons, "columns": self.columns, **asdict(work), **sizes}
        n_bytes = 2 * FLOAT_BYTES * self.n_slots * stride

        def run(memory: Memory, n_turns: int) -> None:
            self.run(memory, stride, n_turns)

        return Probe(about | {"multiply_adds": work.multiply_adds}, work.multiply_adds, n_bytes, run)


def group_case() -> LayerCase:
    """Return one group of columns of a RadiX-Net layer by itself, which stays in L1: 32 inputs, all connected to 16 outputs."""
    weights = sp.csc_array(np.full((2 * CHALLENGE_DENSE_WIDTH, CHALLENGE_DENSE_WIDTH), 1 / 16, np.float32))
    return LayerCase(Network([weights], bias=-0.3, activation=clipped_relu(MAXIMUM)), "none")


def radixnet_case(neurons: int, columns: str, *, one_weight: bool = True) -> LayerCase:
    """Return a layer of the challenge's network: the middle one of the second block of layers, where rows are permuted.

    Without `one_weight` each connection has a weight of its own.
    """
    n_radices = (neurons // CHALLENGE_DENSE_WIDTH).bit_length() - 1
    network = radixnet(neurons, 2 * n_radices, bias=CHALLENGE_BIAS.get(neurons, -0.3))
    middle = n_radices + n_radices // 2
    layers = network.layers[middle - 1 : middle + 1]
    if one_weight:
        return LayerCase(Network.from_layers(layers, network.bias_on), columns)
    rng, matrices = np.random.default_rng(0), [layer.to_scipy() for layer in layers]
    for matrix in matrices:
        matrix.data = (rng.random(matrix.nnz, np.float32) - np.float32(0.25)) * np.float32(0.25)
    bias, activation = float(layers[0].bias[0]), clipped_relu(MAXIMUM)
    return LayerCase(Network(matrices, bias=bias, bias_on=network.bias_on, activation=activation), columns)
