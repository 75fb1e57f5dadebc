"""Measures available and used memory, and refuses what will not fit."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import sys
import time
from pathlib import Path

from sparsednn.errors import MemoryShortageError
from sparsednn.system import control_groups

GB, MB = 1e9, 1e6
KEEP_FREE_BYTES = 256 * 2**20
UNASKED_BYTES = 2**20
"""Smaller demands are left to the reserve: asking the system takes a millisecond or two, as long as a small inference."""

PROPORTIONAL_AGE_S = 0.5
MACHINE, PROCESS = Path("/proc/meminfo"), Path("/proc/self/statm")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL_CACHE_BYTES = {1: 32 * 2**10, 2: 2**20, 3: 32 * 2**20}
SHARED_MEMORY = (Path("/dev/shm"), Path("/tmp"))
"""Where MPI libraries put what processes share: in the first of these folders that can be written."""


def available_bytes() -> int:
    """Return the bytes this process may still take: of the machine, its control groups and its address space the least.

    Memory that only keeps copies of files, and is given back when memory runs short, counts as available.
    """
    available = _machine_available()
    of_groups = control_groups.memory_left()
    if of_groups is not None:
        available = min(available, of_groups)
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft_limit != resource.RLIM_INFINITY:
        available = min(available, soft_limit - _address_space())
    return max(available, 0)


def machine_bytes() -> int:
    """Return the bytes of memory that the machine has."""
    return _of_machine("MemTotal:", "total")


def _machine_available() -> int:
    """Bytes that the machine may still give out."""
    return _of_machine("MemAvailable:", "available")


def _of_machine(line: str, field: str) -> int:
    """Bytes as Linux tells them in a line; psutil, which knows other systems and has them in a field, takes long to import."""
    with contextlib.suppress(OSError):
        for found in MACHINE.read_text().splitlines():
            if found.startswith(line):
                return int(found.split()[1]) * 1024
    import psutil

    return int(getattr(psutil.virtual_memory(), field))


def _address_space() -> int:
    """Bytes of address space that this process has taken; likewise."""
    with contextlib.suppress(OSError):
        return int(PROCESS.read_text().split()[0]) * resource.getpagesize()
    import psutil

    return int(psutil.Process().memory_info().vms)


def shared_memory() -> Path:
    """Return the folder, usually /dev/shm, where the processes of a node have what they share."""
    return next((folder for folder in SHARED_MEMORY if os.access(folder, os.W_OK)), SHARED_MEMORY[0])


def shared_memory_bytes() -> int | None:
    """Return how large the file system of `shared_memory` is in bytes; None where the system tells no limit."""
    try:
        found = os.statvfs(shared_memory())
    except OSError:
        return None
    return found.f_blocks * found.f_frsize or None


def shared_memory_left() -> int:
    """Return the bytes that `shared_memory` has room for; writing more there ends a process with SIGBUS, without a word.

    Docker gives a container 64 MB. Where the system tells no limit: what is available at all.
    """
    try:
        found = os.statvfs(shared_memory())
    except OSError:
        return available_bytes()
    return found.f_bavail * found.f_frsize if found.f_blocks else available_bytes()


@functools.cache
def cache_bytes(level: int, root: Path = CACHES) -> int:
    """Return the size in bytes of the first core's data cache of a level (1, 2 or 3), as Linux tells it.

    Where it tells nothing that can be understood: 32 KiB, 1 MiB and 32 MiB.
    """
    for path in sorted(root.glob("index[0-9]*")):
        with contextlib.suppress(OSError, ValueError):
            kind = (path / "type").read_text().strip()
            if kind != "Instruction" and int((path / "level").read_text()) == level:
                size = (path / "size").read_text().strip()
                return int(size.rstrip("KM")) * {"K": 2**10, "M": 2**20}.get(size[-1], 1)
    return USUAL_CACHE_BYTES[level]


def require(n_bytes: int, purpose: str, way_out: str) -> None:
    """Refuse what will not fit; less than `UNASKED_BYTES` always does.

    Raises
    ------
    MemoryError
        If fewer than `n_bytes` are available (a reserve kept); the message says what for, how much, and `way_out`.
    """
    if n_bytes < UNASKED_BYTES:
        return
    available = available_bytes()
    if n_bytes + KEEP_FREE_BYTES > available:
        raise MemoryShortageError(shortage(n_bytes, available, purpose, way_out))


def shortage(n_bytes: int, available: int, purpose: str, way_out: str) -> str:
    """Say in one line that memory does not suffice."""
    return f"{purpose} needs {n_bytes / GB:.1f} GB, but only {available / GB:.1f} GB of memory are available; {way_out}"


def reset_peak_rss() -> None:
    """Start measuring the peak anew (Linux), so that a sweep's points do not report each other's peak."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """Return the largest resident set size of this process in bytes, since the last reset where the system can reset it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def proportional_bytes() -> int | None:
    """Return the proportional set size of this process: memory that n processes share counts as one n-th (Linux; else None).

    At most `PROPORTIONAL_AGE_S` old: the system adds up all pages, which takes longer than a small inference.
    """
    return _proportional_bytes(os.getpid(), int(time.monotonic() / PROPORTIONAL_AGE_S))


@functools.lru_cache(maxsize=1)
def _proportional_bytes(process: int, moment: int) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None
