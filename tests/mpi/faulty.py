"""A program in which one rank goes wrong: ``python -m tests.mpi.faulty PHASE RANK KIND MODULE_OR_SCRIPT ARGUMENTS``.

Phases: load, inference, gather. Kinds: raise an error of the user or of the program, be killed, take more memory than a limit
of the address space leaves, or hang.
"""

from __future__ import annotations

import os
import resource
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import experiments.run.measure
import sparsednn.execution.prepared_run
from sparsednn.comm.mpi import MpiCommunicator
from sparsednn.errors import DataError
from sparsednn.execution.threads import ThreadExecutor

LIMIT_BYTES = 64 << 20
HANGS = "SPARSEDNN_TEST_HANGS"
"""Names the file by which a rank that hangs says so."""


def go_wrong(kind: str) -> None:
    """Do what a fault does."""
    match kind:
        case "raise":
            raise DataError("a made-up fault")
        case "bug":
            raise ZeroDivisionError("a made-up bug")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (in_use + LIMIT_BYTES, hard))
            np.ones(1 << 30)
        case "hang":
            if HANGS in os.environ:
                Path(os.environ[HANGS]).touch()
            time.sleep(1000)


def before(owner: Any, name: str, act: Callable[[], None]) -> None:
    """Have something happen before a function is called."""
    function = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return function(*args, **kwargs)

    setattr(owner, name, wrapped)


def main(phase: str, rank: str, kind: str, program: str, *arguments: str) -> None:
    """Prepare the fault, then be the program."""

    def act() -> None:
        if MpiCommunicator().rank == int(rank):
            go_wrong(kind)

    # A communicator is collective to make, so every rank makes one at this point.
    place = {
        "load": (experiments.run.measure, "load"),
        "inference": (ThreadExecutor, "run"),
        "gather": (sparsednn.execution.prepared_run.Inference, "_report"),
    }[phase]
    before(*place, act)
    sys.argv = [program, *arguments]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
