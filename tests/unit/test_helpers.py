"""Helpers are what kernels are made of: compiled once for all numbers of a type, and for kernels alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba.core.config
import pytest

from backends.common.jit import JIT_DISABLED, as_python, inline, kernel

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")


@inline
def scaled(x: Any, by: Any) -> Any:
    return x * by


def polynomial(x: Any) -> Any:
    """Two numbers that are written here, and one that is not."""
    return scaled(x, 2) + scaled(by=3, x=x) + scaled(x, x)


def test_a_helper_is_compiled_once_for_all_numbers_of_a_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))  # or it would not be compiled at all
    assert kernel(polynomial)(5) == 50
    assert [str(signature) for signature in scaled.nopython_signatures] == ["(int64, int64) -> int64"]


def test_python_cannot_call_a_helper_but_the_function_that_it_was_made_of() -> None:
    with pytest.raises(TypeError, match="scaled is compiled for kernels alone; call `as_python` of it"):
        scaled(5, 2)
    assert as_python(scaled)(5, 2) == 10
