"""Computes the roofline: caches, the bytes that a layer needs from each of them, and the rate that they allow.

The model is explained in `experiments.roofline.measure`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.common.jit import as_python
from backends.numba_cpu.dense.kernels.grouped import GROUP_LANES, TILE_COLUMNS
from backends.numba_cpu.dense.kernels.simd import WIDEST_TILE, tile_width
from backends.numba_cpu.layout.kernels.groups import GROUP
from sparsednn.errors import OptionError

CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
ASSUMED = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}
"""Bytes of each level where the system does not tell."""

MEMORY = "memory"
ARITHMETIC = "arithmetic"
L1_SET_BYTES = 16 << 10
FLOAT_BYTES = 4
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Cache:
    """One level of the first core's data caches.

    Attributes
    ----------
    name : str
        "L1", "L2", ...
    size_bytes : int
    n_cores : int
        Cores that share it.
    assumed : bool
        The system did not tell, so that this is a guess.
    """

    name: str
    size_bytes: int
    n_cores: int
    assumed: bool = False

    def capacity_bytes(self, n_threads: int) -> int:
        """Return the bytes of it for one of `n_threads` threads: all of L1 and L2, an even share of what is further out."""
        return self.size_bytes if self.name in ("L1", "L2") else self.size_bytes // min(n_threads, self.n_cores)


def caches(root: Path = CACHE) -> tuple[Cache, ...]:
    """Return the data caches of the first core, nearest first; usual sizes, marked as assumed, if the system does not tell.

    Raises
    ------
    ValueError
        If a file cannot be understood; the message names it.
    """
    found = {}
    for folder in sorted(root.glob("index[0-9]*")):
        if _read(folder / "type") in ("Data", "Unified"):
            name = f"L{_read(folder / 'level')}"
            found[name] = Cache(name, _size(folder / "size"), _count_cores(folder / "shared_cpu_list"))
    if not {"L1", "L2"} <= found.keys():
        return tuple(Cache(name, size, 1, assumed=True) for name, size in ASSUMED.items())
    return tuple(found[name] for name in sorted(found))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _size(path: Path) -> int:
    text = _read(path)
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    if not match or int(match[1]) == 0:
        raise OptionError(f"{path}: {text!r} is not a cache's size such as 32K")
    return int(match[1]) * _UNITS[match[2]]


def _count_cores(path: Path) -> int:
    """How many cores a list such as ``0-3,8-11`` names; 1 if there is none."""
    ranges = (part.partition("-") for part in _read(path).split(",") if part)
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges) or 1


def set_sizes(levels: Sequence[Cache], n_threads: int) -> dict[str, int]:
    """Return the bytes, powers of two, from which each thread loads to measure the bandwidth of each level.

    L1: 16 KiB, or half of it if that is less; L2: half; further levels: four times the level before, or half of a thread's
    share if that is less; memory: twice the outermost cache, all threads together, and at least eight times L2 for each.
    """
    sizes = {levels[0].name: min(L1_SET_BYTES, levels[0].size_bytes // 2)}
    for number, level in enumerate(levels[1:]):
        half = level.capacity_bytes(n_threads) // 2
        sizes[level.name] = half if number == 0 else min(4 * levels[number].size_bytes, half)
    sizes[MEMORY] = max(2 * levels[-1].capacity_bytes(n_threads), 8 * levels[1].size_bytes)
    return {name: 1 << (size.bit_length() - 1) for name, size in sizes.items()}


def tiles(stride: int) -> list[int]:
    """Return the widths in which the kernel takes rows of `stride` instances."""
    width = int(as_python(tile_width)(stride, WIDEST_TILE))
    return [min(width, stride - first) for first in range(0, stride, width)]


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one layer on one block of instances.

    Attributes
    ----------
    n_inputs, n_outputs, n_connections : int
    n_stored : int
        Different connections: outputs with the same ones share their storage.
    stride : int
        Instances in the block.
    id_bytes : int
        Of one connection's id, with its weight where weights differ.
    n_grouped : int
        Connections of outputs that are computed in groups with the same inputs.
    weight_bytes : int
        Of the weight in `id_bytes`: 4, or 0.
    """

    n_inputs: int
    n_outputs: int
    n_connections: int
    n_stored: int
    stride: int
    id_bytes: int
    n_grouped: int = 0
    weight_bytes: int = 0

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the layer on the block."""
        return self.n_connections * self.stride

    @property
    def loaded_bytes(self) -> int:
        """Bytes loaded into registers: each lane's input, and for each tile the connection's id and weight once.

        In groups, a tile's input and id are loaded once for all its columns, and a weight for each of them.
        """
        grouped = self.n_grouped if self.stride >= GROUP_LANES else 0
        alone = (self.n_connections - grouped) * (FLOAT_BYTES * self.stride + self.id_bytes * len(tiles(self.stride)))
        tile = FLOAT_BYTES * (GROUP_LANES + TILE_COLUMNS) + self.id_bytes - self.weight_bytes
        return alone + grouped // TILE_COLUMNS * -(-self.stride // GROUP_LANES) * tile

    @property
    def stored_bytes(self) -> int:
        """Bytes stored from registers."""
        return FLOAT_BYTES * self.n_outputs * self.stride

    @property
    def set_bytes(self) -> int:
        """Bytes of everything that is read or written."""
        further_weights = self.weight_bytes * (self.n_grouped - self.n_grouped // GROUP)  # outputs of a group share ids only
        return FLOAT_BYTES * (self.n_inputs + self.n_outputs) * self.stride + self.id_bytes * self.n_stored + further_weights

    def least_bytes(self, levels: Sequence[Cache], n_threads: int) -> dict[str, int]:
        """Return the least bytes that each level has to deliver, whatever the order of the work and the cache's policy.

        Of everything that is used in a layer, the levels nearer than this one can hold no more than the largest of them does.
        """
        needed = {levels[0].name: self.loaded_bytes}
        for level, beyond in zip(levels, [*(level.name for level in levels[1:]), MEMORY], strict=True):
            needed[beyond] = max(self.set_bytes - level.capacity_bytes(n_threads), 0)
        return needed


def roof(arithmetic: float, bandwidth: Mapping[str, float], multiply_adds: int, needed: Mapping[str, int]) -> tuple[float, str]:
    """Return the most multiply-adds a second, and what sets that limit.

    Parameters
    ----------
    arithmetic : float
        Multiply-adds a second from registers.
    bandwidth : mapping
        Bytes a second from each level.
    multiply_adds : int
    needed : mapping
        Bytes from each level for so many multiply-adds.
    """
    limits = {ARITHMETIC: arithmetic}
    limits |= {name: bandwidth[name] * multiply_adds / n_bytes for name, n_bytes in needed.items() if n_bytes > 0}
    limit = min(limits, key=limits.__getitem__)
    return limits[limit], limit
