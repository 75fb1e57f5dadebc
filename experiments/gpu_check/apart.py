"""Runs parts of the check in a process of their own: an error that leaves a device unusable is that part's only."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any

from sparsednn.errors import SparseDnnError

CONTEXT: BaseContext = multiprocessing.get_context("spawn")
"""Processes begin afresh: a context of CUDA does not outlive a fork."""


class ProcessEndedError(SparseDnnError, RuntimeError):
    """A process has ended without an answer."""


class Apart:
    """A process that does what it is given, one after the other, until it is told to end; then another one goes on."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `work`, a function of a module, returns there.

        Raises
        ------
        Exception
            What `work` has raised.
        ProcessEndedError
            If the process has ended: by a fault, or by the system, which had no more memory.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=CONTEXT)
        try:
            return self._pool.submit(work, *arguments).result()
        except BrokenProcessPool as error:
            self.end()
            raise ProcessEndedError(
                "its process has ended without an answer: by a fault, or killed, as a system does that runs out of memory"
            ) from error

    def end(self) -> None:
        """Let the process end: what comes next is done by another one."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
