"""Finds the cores that this process may use, their NUMA domains, and the domain of each worker."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sparsednn.errors import OptionError
from sparsednn.system import control_groups

NODES = Path("/sys/devices/system/node")


def usable_cores() -> int:
    """Return how many cores this process can keep busy: those that it may run on, or its quota of their time if that is less.

    A container with 1.5 cores' time has two: both are used, three quarters of the time. It is how many threads there are unless
    somebody says otherwise, here and wherever something is simulated or submitted as if on this machine.
    """
    cores, quota = len(os.sched_getaffinity(0)), control_groups.cpu_quota()
    return cores if quota is None else min(cores, max(math.ceil(quota), 1))


def numa_domains(cores: Sequence[int], root: Path = NODES) -> tuple[int, ...]:
    """Return the NUMA domain of each core, as Linux tells it in ``node*/cpulist``; 0 for all where the system does not tell.

    Raises
    ------
    ValueError
        If a file cannot be understood, or none of them has one of the cores; the message names the file or folder.
    """
    found = {core: int(path.parent.name[4:]) for path in root.glob("node[0-9]*/cpulist") for core in _cores(path)}
    if not found:
        return (0,) * len(cores)
    for core in cores:
        if core not in found:
            raise OptionError(f"{root}: core {core} is in no node*/cpulist; say how many domains there are: numa_domains=1")
    return tuple(found[core] for core in cores)


def pinning_order(first: int = 0) -> list[int]:
    """Return the cores that this process may use, in the order in which workers are pinned to them: from number `first` on."""
    cores = sorted(os.sched_getaffinity(0))
    first %= len(cores)
    return cores[first:] + cores[:first]


def worker_domains(n_workers: int, *, pinned: bool, override: int | None = None, first_core: int = 0) -> tuple[int, ...]:
    """Return the NUMA domain of each worker.

    Parameters
    ----------
    n_workers : int
    pinned : bool
        Whether worker i stays on the i-th core that this process may use (and around again), as `ThreadExecutor` pins it: then
        it is in that core's domain. Workers that may run anywhere are all in one.
    first_core : int
        Number of the first worker's core among those that this process may use.
    override : int, optional
        Take the workers for so many domains, in contiguous ranges whose sizes differ by at most one; at most one
        domain for each worker.

    Raises
    ------
    ValueError
        If `override` is below 1, or as `numa_domains` does.
    """
    if override is not None:
        if override < 1:
            raise OptionError(f"numa_domains={override}: must be at least 1")
        n_domains = min(override, n_workers)
        smallest, n_larger = divmod(n_workers, n_domains)
        return tuple(domain for domain in range(n_domains) for _ in range(smallest + (domain < n_larger)))
    if not pinned:
        return (0,) * n_workers
    cores = pinning_order(first_core)
    return numa_domains([cores[worker % len(cores)] for worker in range(n_workers)])


def _cores(path: Path) -> Iterable[int]:
    """The cores of a list such as ``0-3,8-11``; a domain of memory only has an empty one."""
    text = path.read_text().strip()
    cores: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        numbers = (first, last) if dash else (first, first)
        if not all(number.isdecimal() for number in numbers) or int(numbers[1]) < int(numbers[0]):
            raise OptionError(f"{path}: {part!r} in {text!r} is not a core or a range of cores such as 0-3")
        cores += range(int(numbers[0]), int(numbers[1]) + 1)
    return cores
