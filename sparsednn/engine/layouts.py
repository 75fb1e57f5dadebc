"""Owns the layouts of a compiled network: which there are, which are packed already, which batches each serves."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from collections.abc import Callable
from typing import NamedTuple

from sparsednn.backend import DirectNetwork, DirectSize
from sparsednn.errors import MemoryShortageError

DIRECT_MULTIPLY_ADDS, DEEP_LAYERS = 4_000_000_000, 30
"""Calls of more multiply-adds take the kernels that drop instances which die or are saturated on their way, in networks where
they may, and which are so deep that it pays: at 1024 x 120 both are about level at 16,000 instances, and direct calls are
faster with fewer."""


class NetworkLayout(NamedTuple):
    """A layout of the network that calls use.

    Attributes
    ----------
    kernel : str
    n_bytes : int, or None
        Of the layers and, once they are packed, of the activations; None where the backend keeps it to itself.
    instances : str
        Which batches it serves.
    reason : str
    state : {"packed", "in files", "not packed yet", "left out"}
        In files: mapped from a folder, and not read yet.
    """

    kernel: str
    n_bytes: int | None
    instances: str
    reason: str
    state: str

    def __str__(self) -> str:
        """Say it in a line."""
        size = "" if self.n_bytes is None else f"{self.n_bytes:,} bytes, "
        return f"{self.kernel} ({size}{self.state}): {self.instances}; {self.reason}"


class Description(NamedTuple):
    """Backend, threads and layouts of a compiled network.

    Attributes
    ----------
    backend : str
    threads : int
    layouts : tuple of NetworkLayout
    tolerance : float, or None
        How far outputs may be from exact ones at most, as a share of the largest; None: their bits are those of all kernels.
    """

    backend: str
    threads: int
    layouts: tuple[NetworkLayout, ...]
    tolerance: float | None = None

    def __str__(self) -> str:
        """Say it in a line for each layout."""
        near = "" if self.tolerance is None else f"; not exact: within {self.tolerance:g} of the largest output"
        return "\n".join([f"{self.backend}, {self.threads} threads{near}", *(f"  {layout}" for layout in self.layouts)])


class DirectLayout:
    """A network for direct calls, which is packed when it is first used.

    Parameters
    ----------
    size : DirectSize
        How large it will be; it may turn out smaller.
    make : callable
        Packs it, or maps it from files. Raises MemoryShortageError where it does not fit.
    drops : bool
        Whether other kernels may do with much less than all multiply-adds (see `DIRECT_MULTIPLY_ADDS`).
    in_files : bool

    Attributes
    ----------
    network : DirectNetwork, or None
        Once it is packed.
    refusal : str, or None
        Why it is left out.
    """

    def __init__(self, size: DirectSize, make: Callable[[], DirectNetwork], *, drops: bool, in_files: bool = False) -> None:
        self.size, self.drops = size, drops
        self.network: DirectNetwork | None = None
        self.refusal: str | None = None
        self._make, self._in_files, self._others = make, in_files, ""
        self._most = self._limit()

    def takes(self, n: int) -> bool:
        """Whether it is the one for a batch of so many instances."""
        return self.refusal is None and (self._most is None or n <= self._most)

    def take_all(self, reason: str) -> None:
        """Take every batch from now on, since there is a reason why others do not."""
        self.drops, self._others, self._most = False, f"; other kernels are left out: {reason}", None

    def packed(self) -> DirectNetwork | None:
        """Return the network, which is packed now if it was not before; None: it does not fit, and is left out from now on."""
        if self.network is None and self.refusal is None:
            try:
                self.network = self._make()
            except MemoryShortageError as error:
                self.refusal = str(error)
            self._most = self._limit()
        return self.network

    def close(self) -> None:
        """End the threads."""
        if self.network is not None:
            self.network.close()

    def describe(self) -> NetworkLayout:
        """Say what it is, which batches it serves, and why."""
        network, state = self.network, "in files" if self._in_files else "not packed yet"
        if self.refusal is not None:
            return NetworkLayout(self.size.kernel, self.size.n_bytes, "no batch", self.refusal, "left out")
        served = "every batch" if self._most is None else f"batches of up to {self._most:,} instances"
        reason = f"one compiled call: {self.size.how}{self._others}"
        if network is None:
            return NetworkLayout(self.size.kernel, self.size.n_bytes, served, reason, state)
        return NetworkLayout(network.kernel, network.n_bytes, served, reason, "packed")

    @property
    def serves_all(self) -> bool:
        """Whether every batch goes this way."""
        return self.refusal is None and self._most is None

    def _limit(self) -> int | None:
        """How many instances a direct call takes at most; None: any number."""
        connections = self.size.connections if self.network is None else self.network.connections
        return DIRECT_MULTIPLY_ADDS // max(connections, 1) if self.drops else None
