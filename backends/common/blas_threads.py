"""Holds BLAS to one thread while workers call it: each has a block of its own, and a library's threads would be too many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import threadpoolctl
from scipy.linalg import cython_blas  # whose library compiled kernels call

_lock = threading.Lock()
_users = [0]
_limits: list[Any] = []


@cache
def _libraries() -> Any:
    """The BLAS libraries of this process; looked for once, since that takes as long as a small inference."""
    assert cython_blas is not None
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def _let_any_thread_set() -> None:
    """Give up that one thread alone may set the threads of OpenBLAS, as of threadpoolctl 3.8.

    Here the last to leave puts them back, whoever set them; and who has called us may set them afterwards.
    """
    clear = getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS have one thread a call, in the whole process, until the last of those that are within has left."""
    libraries = _libraries()
    with _lock:
        _users[0] += 1
        if _users[0] == 1:
            _let_any_thread_set()
            _limits.append(libraries.limit(limits=1))
    try:
        yield
    finally:
        with _lock:
            _users[0] -= 1
            if _users[0] == 0:
                _let_any_thread_set()
                _limits.pop().restore_original_limits()
                _let_any_thread_set()
