"""Compiles the kernels that the suite uses, once for all its processes: each takes the next that none is compiling.

Otherwise all processes meet the same kernels in their first minutes, and each compiles them for itself, which takes 95 s of a
processor. What is in the cache is only loaded. Kernels of the same helpers are compiled by one process, which then has these.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import sparsednn
from sparsednn.data.compact_rows import CompactRows
from sparsednn.simulator.profile import measure_profile

MANY = 2**16 + 1
"""Neurons, or instances of a row group, whose ids need more than 16 bits."""


def _network(n: int) -> sparsednn.Network:
    """Return a network of `n` inputs and two neurons."""
    return sparsednn.Network([sp.csr_array(([1.0], ([n - 1], [0])), shape=(n, 2))])


def _infer(n: int, *kernels: str) -> None:
    """Run kernels on `n` instances of `n` inputs."""
    for kernel in kernels:
        sparsednn.infer(_network(n), sp.eye_array(n, dtype=np.float32), kernel=kernel, threads=1)


def _infer_compact(n: int) -> None:
    """Run the default kernel on compact rows, as challenge inputs are in run.py."""
    rows = CompactRows(np.arange(n + 1, dtype=np.int32), np.arange(n, dtype=np.uint16), n)
    sparsednn.infer(sparsednn.Network([sp.eye_array(n, dtype=np.float32)]), rows, threads=1)


def _call(n: int, kernel: str = "auto") -> None:
    """Call a compiled network of `n` inputs."""
    with sparsednn.compile(_network(n), kernel=kernel, threads=1) as compiled:
        compiled(np.ones((1, n), np.float32))


def _dense(n: int) -> None:
    """Run what takes dense blocks through layers: inferences, direct calls with BLAS, and profiles."""
    _infer(n, "rowwise_first")
    _call(n, "blas")
    measure_profile(_network(n), sp.eye_array(n, dtype=np.float32), 1, cache=False)


KERNELS: dict[str, Callable[[], None]] = {
    f"{name} {bits}": partial(function, n, *kernels)
    for name, bits, function, kernels in (
        ("dense", 16, _dense, ()),
        ("direct", 16, _call, ()),
        ("compact", 16, _infer_compact, ()),
        ("csc", 16, _infer, ("csc_udc", "csc_csc")),
        ("dcsc", 16, _infer, ("dcsc_csc",)),
        ("csr", 16, _infer, ("csr_csr",)),
        ("csc", 32, _infer, ("csc_csc",)),
    )
    for n in (MANY if bits == 32 else 8,)
}
"""Calls by which kernels are compiled, those that take longest first; other kernels' larger ids are for slow tests."""


def compile_in_turn(path: Path, kernels: Mapping[str, Callable[[], None]] = KERNELS) -> None:
    """Compile kernels together with other processes that have been given the same file; return when all are in the cache.

    The file has no content: a process has its n-th byte locked while it compiles the n-th kernel. One that is killed leaves its
    kernel to the first test that needs it.
    """
    with path.open("a") as file:
        for number, compile_it in enumerate(kernels.values()):
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except (BlockingIOError, PermissionError):  # another process compiles it
                continue
            compile_it()
            fcntl.lockf(file, fcntl.LOCK_UN, 1, number)
        fcntl.lockf(file, fcntl.LOCK_EX, len(kernels))
    path.unlink(missing_ok=True)
