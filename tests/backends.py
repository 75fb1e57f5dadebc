"""Which of the installed backends can be used here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from backends.cupy_gpu.backend import CupyBackend
from sparsednn.backend import Backend, DeviceError, backend_names, load_backend
from tests.gpu.host_device import HostDevice
from tests.gpu.host_kernels import COMPILER

ON_HOST = "cupy_on_host"
"""The CuPy backend with two devices that are none: NumPy, scipy.sparse, and its kernels compiled by a C++ compiler."""


def _load() -> tuple[dict[str, Backend], dict[str, str]]:
    usable: dict[str, Backend] = {}
    missing: dict[str, str] = {}
    for name in backend_names():
        try:
            usable[name] = load_backend(name)
        except (ImportError, DeviceError) as error:
            missing[name] = str(error)
    if COMPILER is None:
        missing[ON_HOST] = "no C++ compiler (c++, g++ or clang++) to compile the GPU kernels for the host"
    else:
        usable[ON_HOST] = CupyBackend([HostDevice(0), HostDevice(1)])
    return usable, missing


USABLE, MISSING = _load()
"""Backends whose packages and devices are there, and why the others cannot be used."""


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a backend's tests: whether they need a GPU, and why they are skipped."""
    gpu = [pytest.mark.gpu] if name == "cupy" else []
    return [*gpu, pytest.mark.skip(reason=MISSING[name])] if name in MISSING else gpu


def skipped(*placeholders: Any) -> list[Any]:
    """A skipped parameter set for each backend that cannot be used, with its reason."""
    return [pytest.param(name, *placeholders, id=name, marks=marks(name)) for name in MISSING]


def of(names: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Parameter sets that begin with the name of a backend, with its marks."""
    return [pytest.param(*values, id="-".join(values), marks=marks(values[0])) for values in names]


NAMES = of((name,) for name in USABLE) + skipped()
KERNELS = of(
    (name, kernel) for name, backend in USABLE.items() for kernel in sorted(set(backend.kernels.values()))
) + skipped("auto")  # fmt: skip


def same_bits(one: sp.csr_array, other: sp.csr_array) -> bool:
    """Whether two outputs are the same to the last bit."""
    return (
        one.shape == other.shape
        and np.array_equal(one.indptr, other.indptr)
        and np.array_equal(one.indices, other.indices)
        and one.data.tobytes() == other.data.tobytes()
    )


def agree(backend: str, kernel: str, output: sp.csr_array, expected: sp.csr_array) -> bool:
    """Whether an output has the bits that were expected; where these are not promised, whether it is within rounding."""
    return same_bits(output, expected) if kernel in USABLE[backend].same_bits else nearly_equal(output, expected)


def nearly_equal(output: sp.csr_array, expected: sp.csr_array) -> bool:
    """Whether no entry differs by more than 1e-5 of the largest, or of 1 where all are smaller."""
    if output.shape != expected.shape:
        return False
    if 0 in expected.shape:
        return True
    return bool(abs(output - expected).max() <= 1e-5 * max(1.0, float(abs(expected).max())))
