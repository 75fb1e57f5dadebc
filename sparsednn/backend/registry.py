"""Finds installed backends by name, and refuses kernels and schedulers that a backend does not have.

Backends are entry points of the group ``sparsednn.backends``: this library imports none of them, and others can bring their
own.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sparsednn.backend.protocol import Backend, KernelOptions
from sparsednn.errors import MissingPackageError, OptionError, OptionTypeError, unknown
from sparsednn.network import Network
from sparsednn.system.siblings import claim

ENTRY_POINT_GROUP = "sparsednn.backends"

FORMER_KERNELS: Mapping[str, str] = {"adaptive": "rowwise_first"}
"""Names that kernels had in earlier versions, which records and calibrations have too, each with the present one."""

_LOG = logging.getLogger(__name__)


def require_in_memory(backend: Backend, options: KernelOptions) -> None:
    """Raise ValueError if layers were to be streamed, for backends that cannot."""
    if options.stream_from is not None:
        raise OptionError(f"residency=stream: backend={backend.name} keeps the network in memory; use backend=numba")


def require_clamps(network: Network, name: str, way_out: str = "backend=numba") -> None:
    """Raise ValueError unless each layer's activation is one clamp, for backends and kernels (`name`) that know no other."""
    for number, layer in enumerate(network.layers, start=1):
        if not layer.activation.is_clamp:
            raise OptionError(
                f"{name}: layer {number} has activation {layer.activation.name!r}, but only limits for a whole layer are known "
                f"there (relu, clipped_relu, identity); use {way_out}"
            )


def kernel_name(backend: Backend, kernel: str) -> str:
    """Return the full name of a kernel of `backend`, or raise ValueError naming the legal ones; a former name is warned of."""
    current = FORMER_KERNELS.get(kernel, kernel)
    if kernel not in backend.kernels and current in backend.kernels:
        _warn_of_former_name(kernel, current)
        return backend.kernels[current]
    if kernel not in backend.kernels:
        raise OptionError(f"{unknown('kernel', kernel, backend.kernels)} (backend {backend.name})")
    return backend.kernels[kernel]


@functools.cache
def _warn_of_former_name(former: str, current: str) -> None:
    """Say it once in a process."""
    _LOG.warning("kernel=%s: is called %s now; the former name is still taken", former, current)


def require_schedulable(backend: Backend, kernel: str, scheduler: str, known: Collection[str]) -> None:
    """Refuse a scheduler of the `known` ones that does not go with a kernel (its full name).

    Raises
    ------
    ValueError
        Naming the schedulers that go with the kernel, and the kernels that go with the scheduler.
    """
    legal = backend.schedulers[kernel]
    if scheduler in legal or scheduler not in known:
        return
    kernels = [name for name, schedulers in backend.schedulers.items() if scheduler in schedulers]
    others = f"; kernels that go with {scheduler}: {', '.join(kernels)}" if kernels else ""
    raise OptionError(
        f"scheduler={scheduler} does not go with kernel={kernel} (backend {backend.name}); legal: {', '.join(legal)}{others}"
    )


def workers_of(backend: Backend, n_threads: int, *, pin: bool) -> int:
    """Return how many workers make `n_threads` threads: one, where the backend brings its own threads.

    Raises
    ------
    ValueError
        If those were to be pinned: they would inherit the one core of the worker.
    """
    if not backend.own_threads:
        return n_threads
    if pin:
        raise OptionError(f"pin=true: backend={backend.name} brings its own threads, which would share one core; leave it off")
    return 1


@functools.lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of all packages on a search path; read once, since that takes as long as a small inference."""
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def backend_names() -> list[str]:
    """Return the names of the backends that are installed."""
    return sorted({entry.name for entry in _installed(tuple(sys.path))})


def load_backend(name: str) -> Backend:
    """Return a new backend by name.

    Raises
    ------
    ValueError
        If no installed package offers a backend of that name.
    ImportError
        If the backend needs a package that is missing, or another module has been imported under the name of its own.
    """
    return _made(name, lambda kind: kind())


def load_simulated(name: str) -> Backend:
    """Return a new backend by name that will run nothing: without devices, where it needs some to run; errors as above."""
    return _made(name, lambda kind: kind.without_devices() if hasattr(kind, "without_devices") else kind())


def _made(name: str, make: Callable[[Any], Backend]) -> Backend:
    """Return what is made of the class of a backend."""
    found = [entry for entry in _installed(tuple(sys.path)) if entry.name == name]
    if not found:
        names = backend_names()
        if not names:
            raise OptionError(f"backend={name}: no backend is installed; install the project with: pip install -e .")
        raise OptionError(unknown("backend", name, names))
    if _comes_with_us(found[0]):
        claim(found[0].module.partition(".")[0])
    try:
        backend = make(found[0].load())
    except ImportError as error:
        raise MissingPackageError(f"backend={name} needs a package that cannot be imported: {error}") from error
    if not isinstance(backend, Backend):
        raise OptionTypeError(f"backend={name}: {type(backend).__name__} lacks parts of sparsednn.backend.Backend")
    return backend


@functools.cache
def _comes_with_us(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "sparsednn"
