"""Which of the installed backends can be used here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from sparsednn.backend import Backend, backend_names, load_backend


def _load() -> tuple[dict[str, Backend], dict[str, str]]:
    usable, missing = {}, {}
    for name in backend_names():
        try:
            usable[name] = load_backend(name)
        except ImportError as error:
            missing[name] = str(error)
    return usable, missing


USABLE, MISSING = _load()
"""Backends whose packages are there, and why the others cannot be used."""


def skipped(*placeholders: Any) -> list[Any]:
    """A skipped parameter set for each backend that cannot be used, with its reason."""
    return [
        pytest.param(name, *placeholders, id=name, marks=pytest.mark.skip(reason=reason)) for name, reason in MISSING.items()
    ]


NAMES = [pytest.param(name, id=name) for name in USABLE] + skipped()
KERNELS = [
    pytest.param(name, kernel, id=f"{name}-{kernel}")
    for name, backend in USABLE.items()
    for kernel in sorted(set(backend.kernels.values()))
] + skipped("auto")


def same_bits(one: sp.csr_array, other: sp.csr_array) -> bool:
    """Whether two outputs are the same to the last bit."""
    return (
        one.shape == other.shape
        and np.array_equal(one.indptr, other.indptr)
        and np.array_equal(one.indices, other.indices)
        and one.data.tobytes() == other.data.tobytes()
    )


def agree(backend: str, output: sp.csr_array, expected: sp.csr_array) -> bool:
    """Whether an output has the bits that were expected; where these are not promised, whether it is within rounding."""
    return same_bits(output, expected) if USABLE[backend].same_bits else nearly_equal(output, expected)


def nearly_equal(output: sp.csr_array, expected: sp.csr_array) -> bool:
    """Whether no entry differs by more than 1e-5 of the largest, or of 1 where all are smaller."""
    if output.shape != expected.shape:
        return False
    if 0 in expected.shape:
        return True
    return bool(abs(output - expected).max() <= 1e-5 * max(1.0, float(abs(expected).max())))
