"""Estimates the memory of a challenge run by arithmetic alone, and refuses a run that cannot fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from experiments.config.resolve import Config
from experiments.config.schema import SIMULATED
from experiments.run.arguments import options_of
from sparsednn.backend import (
    PLAIN_ENTRY_BYTES,
    Backend,
    KernelOptions,
    MemoryBytes,
    RunSize,
    SizedBackend,
    kernel_name,
    load_backend,
    load_simulated,
)
from sparsednn.data.challenge_inputs import N_INSTANCES, NONZEROS
from sparsednn.engine import default_threads, reads_compact_rows
from sparsednn.errors import MemoryShortageError
from sparsednn.system.memory import GB, KEEP_FREE_BYTES, available_bytes, shared_memory, shared_memory_left


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes that a run takes at its peak.

    Attributes
    ----------
    network : int
        The layers as they are generated, each distinct column once.
    kernel : int
        The copy in the kernel's format, while it is put together.
    inputs : int
        As they are mapped from the cache, and, where something needs that, as a matrix beside them.
    activations : int
        Of all threads.
    unsized : str
        The backend whose copy and activations are guessed, since it does not say what it takes; "" if none is.
    """

    network: int
    kernel: int
    inputs: int
    activations: int
    unsized: str = ""

    @property
    def shared(self) -> int:
        """Bytes that processes may share: the network, and the copy when it is put together, at least half as large."""
        return self.network + self.kernel // 2

    @property
    def total(self) -> int:
        """All of it, with the reserve that is kept free."""
        return self.network + self.kernel + self.inputs + self.activations + KEEP_FREE_BYTES

    def __str__(self) -> str:
        parts = {
            "network": self.network, "the kernel's copy": self.kernel, "inputs": self.inputs, "activations": self.activations,
            "reserve": KEEP_FREE_BYTES,
        }  # fmt: skip
        guessed = ""
        if self.unsized:
            guessed = f"; backend={self.unsized} does not say what it takes: {PLAIN_ENTRY_BYTES} bytes a connection are assumed"
        return f"{self.total / GB:.2f} GB ({', '.join(f'{name} {n / GB:.2f}' for name, n in parts.items())}{guessed})"


@dataclass(frozen=True, slots=True)
class Node:
    """The machine of a run: the processes on it, and the bytes that are available in all, and in its shared memory."""

    available: int
    n_processes: int = 1
    room: int = 0

    def shares(self, config: Config, alone: Estimate) -> bool:
        """Whether there is room for one network that all processes share; `alone` is what one process takes."""
        return config.cluster.share_network and alone.shared <= self.room


def require_room(config: Config, n_processes: int = 1) -> None:
    """Refuse a run of a generated network on the challenge's inputs that will not fit, with so many processes on this machine.

    Raises
    ------
    MemoryError
        With the estimate, what is available, and the single switches with which the estimate fits.
    """
    node = Node(available_bytes(), n_processes, shared_memory_left() if n_processes > 1 else 0)
    needed = estimate(config, node)
    if needed is None or needed.total <= node.available:
        return
    fitting = [name for name, changed in _switches(config, node) if _fits(changed, node)]
    if n_processes > 1 and _fits(config, Node(node.available)):
        fitting.append("one process")
    way_out = f"enough with {' or '.join(fitting)}" if fitting else "no single switch makes it fit; use fewer neurons or layers"
    raise MemoryShortageError(
        f"neurons={config.neurons} layers={config.layers}: this run needs about {needed}, but only "
        f"{node.available / GB:.2f} GB of memory are available{_why_copies(config, node)}; {way_out}"
    )


def _why_copies(config: Config, node: Node) -> str:
    """Say why the network is there several times, if it is."""
    alone = estimate(config)
    if node.n_processes == 1 or alone is None or node.shares(config, alone):
        return ""
    if not config.cluster.share_network:
        return f", with a network for each of {node.n_processes} processes"
    return (
        f", with a network for each of {node.n_processes} processes, since {shared_memory()} has room for "
        f"{node.room / GB:.2f} GB only (docker run --shm-size=SIZE makes it larger)"
    )


def estimate(config: Config, node: Node | None = None) -> Estimate | None:
    """Return what a run will take, in all processes of a node, or in one; None where only the data themselves tell."""
    if config.network.name != "radixnet" or config.input.name != "challenge" or config.size[0] not in NONZEROS:
        return None
    instances = config.instances or N_INSTANCES
    nonzeros = NONZEROS[config.size[0]] * instances // N_INSTANCES
    n_processes = 1 if node is None else node.n_processes
    size = _size(config, instances, nonzeros, n_processes)
    network, compact = size.distinct_connections * size.id_bytes, 2 * nonzeros
    plain = compact + PLAIN_ENTRY_BYTES * nonzeros
    if config.executor == SIMULATED:  # what it counts may be in the cache
        return Estimate(network, 0, plain, 0)
    load = load_simulated if config.executor == SIMULATED else load_backend
    backend, options = load(config.backend.name), options_of(config)
    stay = reads_compact_rows(backend, kernel_name(backend, config.kernel), config.scheduler.name, options)
    inputs = compact if stay else plain
    taken, unsized = MemoryBytes.plain(size), backend.name
    if isinstance(backend, SizedBackend):
        taken, unsized = backend.memory_bytes(size, _options(config, kernel_name(backend, config.kernel))), ""
    alone = Estimate(network, taken.plan, inputs, taken.activations, unsized)
    return alone if n_processes == 1 or node is None else _of_all(alone, config, backend, node)


def _of_all(alone: Estimate, config: Config, backend: Backend, node: Node) -> Estimate:
    """Estimate what all processes of a node take, from what one takes: networks and copies for each, unless they are shared.

    Copies that were to be shared are put together by one process, and sent to the others.
    """
    more = node.n_processes - 1
    shares = node.shares(config, alone)
    network = alone.network if shares else alone.network * (1 + more)
    sends = config.cluster.share_network and config.network.residency in backend.plans_can_be_shared
    kernel = alone.kernel + more * ((0 if shares else alone.kernel // 2) if sends else alone.kernel)
    return replace(alone, network=network, kernel=kernel)


def _size(config: Config, instances: int, nonzeros: int, n_processes: int) -> RunSize:
    """Return the size of a run, in all processes of a node."""
    radices, width = config.network.radices or [2], config.network.dense_width
    neurons, layers = config.size
    distinct = neurons * sum(radices) * layers // len(radices)
    return RunSize(
        neurons=neurons,
        layers=layers,
        connections=distinct * width,
        distinct_connections=distinct,
        distinct_outputs=neurons // width,
        instances=instances,
        nonzeros=nonzeros,
        threads=n_processes * (config.threads or max(default_threads() // n_processes, 1)),
    )


def _options(config: Config, kernel: str) -> KernelOptions:
    """Return what the backend is to be asked for, with a kernel's full name."""
    return options_of(config).kernel_options(kernel)


def _fits(config: Config, node: Node) -> bool:
    found = estimate(config, node)
    return found is not None and found.total <= node.available


def _switches(config: Config, node: Node) -> Iterator[tuple[str, Config]]:
    """Single switches that may save memory, and the configuration with each; one that changes nothing does not fit either."""
    yield "kernel=auto", replace(config, kernel="auto")
    if config.optimize.columns != "merge":
        yield "optimize.columns=merge", replace(config, optimize=replace(config.optimize, columns="merge"))
    yield "network.residency=stream", replace(config, network=replace(config.network, residency="stream"))
    if node.n_processes > 1 and not config.cluster.share_network:
        yield "cluster.share_network=true", replace(config, cluster=replace(config.cluster, share_network=True))
    fewer = _largest(lambda n: replace(config, instances=n), config.instances or N_INSTANCES, node)
    yield f"instances={fewer.instances}", fewer
    if config.executor != SIMULATED:
        fewer = _largest(lambda n: replace(config, threads=n), config.threads or default_threads(), node)
        yield f"threads={fewer.threads}", fewer


def _largest(changed: Callable[[int], Config], given: int, node: Node) -> Config:
    """The configuration with the largest number up to the given one with which a run fits; with 1 if none does."""
    low, high = 1, given
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _fits(changed(middle), node) else (low, middle - 1)
    return changed(low)
