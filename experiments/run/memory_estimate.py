"""How much memory a run of the challenge will take, by arithmetic alone: what cannot fit is refused before it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from experiments.config.resolve import Config
from experiments.config.schema import ColumnWork, Executor, Residency, RowWork
from sparsednn.backend import Backend, kernel_name, load_backend
from sparsednn.data.challenge_inputs import N_INSTANCES, NONZEROS
from sparsednn.engine import default_threads
from sparsednn.system.memory import GB, KEEP_FREE_BYTES, available_bytes, shared_memory, shared_memory_left

BLOCK_ROWS = 128
"""Instances in a dense block of a network whose blocks need much memory."""

ENTRY_BYTES = {"scipy_reference": 8, "torch": 8, "graphblas": 12, "mkl": 16}
"""What a backend without a kernel of this project's own takes for each connection, at least."""


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
    activations : int
        Of all threads.
    """

    network: int
    kernel: int
    inputs: int
    activations: int

    @property
    def shared(self) -> int:
        """What processes may share: the network, and the copy when it is put together, at least half as large."""
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
        return f"{self.total / GB:.2f} GB ({', '.join(f'{name} {n / GB:.2f}' for name, n in parts.items())})"


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
    raise MemoryError(
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
    if config.network.name != "radixnet" or config.input.name != "challenge" or config.neurons not in NONZEROS:
        return None
    instances = config.instances or N_INSTANCES
    nonzeros = NONZEROS[config.neurons] * instances // N_INSTANCES
    network, inputs = _distinct(config) * _id_bytes(config), 8 * nonzeros
    if config.executor is Executor.simulated:  # what it counts may be in the cache
        return Estimate(network, 0, inputs, 0)
    backend = load_backend(config.backend.name)
    kernel = kernel_name(backend, config.kernel)
    n_processes = 1 if node is None else node.n_processes
    alone = Estimate(network, _kernel(config, backend, kernel), inputs, _activations(config, kernel, nonzeros, n_processes))
    return alone if node is None or n_processes == 1 else _of_all(alone, config, backend, node)


def _of_all(alone: Estimate, config: Config, backend: Backend, node: Node) -> Estimate:
    """What all processes of a node take, from what one takes: networks and copies for each, unless they are shared.

    Copies that were to be shared are put together by one process, and sent to the others.
    """
    more = node.n_processes - 1
    shares = node.shares(config, alone)
    network = alone.network if shares else alone.network * (1 + more)
    sends = config.cluster.share_network and config.network.residency.value in backend.plans_can_be_shared
    kernel = alone.kernel + more * ((0 if shares else alone.kernel // 2) if sends else alone.kernel)
    return replace(alone, network=network, kernel=kernel)


def _distinct(config: Config) -> int:
    """Connections of the distinct columns of all layers."""
    radices = config.network.radices or [2]
    return config.neurons * sum(radices) * config.layers // len(radices)


def _id_bytes(config: Config) -> int:
    return 2 if config.neurons <= 2**16 else 4


def _kernel(config: Config, backend: Backend, kernel: str) -> int:
    """The network in the kernel's format; arrays that are joined of one part a layer are there twice for a moment."""
    distinct, ids = _distinct(config), _id_bytes(config)
    connections = distinct * config.network.dense_width
    if backend.name == "cupy":  # in host memory; what is on the device is refused there
        kept = distinct if config.optimize.columns is ColumnWork.merge else connections
        return 2 * (ids if kernel == "fused" else 8) * kept
    if backend.name != "numba":
        return ENTRY_BYTES.get(backend.name, 0) * connections
    if kernel.endswith("_udc"):
        return 4 * config.neurons**2 * config.layers
    if kernel == "csr_csr":
        return (2 * ids + 4) * connections
    if config.network.residency is Residency.stream:
        return 0
    if kernel == "csc_csc":
        return (ids + 4 + 4) * distinct
    return 2 * ids * distinct + ids * _outputs(config) * config.layers


def _outputs(config: Config) -> int:
    """Outputs of a layer that are computed."""
    merges = config.optimize.columns is ColumnWork.merge
    return config.neurons // config.network.dense_width if merges else config.neurons


def _activations(config: Config, kernel: str, nonzeros: int, n_processes: int) -> int:
    """What threads work on: two dense blocks, and half of one at about two layers for every doubling of depth, where what is
    left of blocks waits to be joined; or with a sparse kernel, what all instances have at the beginning."""
    if config.backend.name != "numba" or kernel.startswith("cs"):
        return (_id_bytes(config) + 4) * nonzeros
    threads = n_processes * (config.threads or max(default_threads() // n_processes, 1))
    rows = min(config.backend.block_rows or BLOCK_ROWS, config.instances or N_INSTANCES)
    pools = 0 if config.optimize.rows is RowWork.none else 2 * config.layers.bit_length()
    return threads * 4 * rows * (2 * config.neurons + pools * _outputs(config) // 2)


def _fits(config: Config, node: Node) -> bool:
    found = estimate(config, node)
    return found is not None and found.total <= node.available


def _switches(config: Config, node: Node) -> Iterator[tuple[str, Config]]:
    """Single switches that may save memory, and the configuration with each."""
    if config.backend.name == "numba" and config.kernel != "auto":
        yield "kernel=auto", replace(config, kernel="auto")
    if config.optimize.columns is not ColumnWork.merge:
        yield "optimize.columns=merge", replace(config, optimize=replace(config.optimize, columns=ColumnWork.merge))
    if _may_stream(config):
        yield "network.residency=stream", replace(config, network=replace(config.network, residency=Residency.stream))
    if node.n_processes > 1 and not config.cluster.share_network:
        yield "cluster.share_network=true", replace(config, cluster=replace(config.cluster, share_network=True))
    fewer = _largest(lambda n: replace(config, instances=n), config.instances or N_INSTANCES, node)
    yield f"instances={fewer.instances}", fewer
    if config.executor is Executor.threads:
        fewer = _largest(lambda n: replace(config, threads=n), config.threads or default_threads(), node)
        yield f"threads={fewer.threads}", fewer


def _may_stream(config: Config) -> bool:
    if config.executor is Executor.simulated or config.backend.name != "numba" or config.network.residency is Residency.stream:
        return False
    return kernel_name(load_backend("numba"), config.kernel) in ("adaptive", "udc_csc")


def _largest(changed: Callable[[int], Config], given: int, node: Node) -> Config:
    """The configuration with the largest number up to the given one with which a run fits; with 1 if none does."""
    low, high = 1, given
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _fits(changed(middle), node) else (low, middle - 1)
    return changed(low)
