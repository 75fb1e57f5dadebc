"""A program in which little is left: ``python -m tests.mpi.little_memory SHARED AVAILABLE MODULE_OR_SCRIPT ARGUMENTS``.

SHARED is how many bytes shared memory has room for, AVAILABLE how many there are in all, for what processes share ("-": as many
as there really are).
"""

from __future__ import annotations

import runpy
import sys
from types import SimpleNamespace

from sparsednn.comm import sharing
from sparsednn.system import memory


def main(shared: str, available: str, program: str, *arguments: str) -> None:
    """Pretend, then be the program."""
    seen = dict(vars(memory))
    for name, n_bytes in (("shared_memory_left", shared), ("available_bytes", available)):
        if n_bytes != "-":
            seen[name] = lambda n_bytes=int(n_bytes): n_bytes
    sharing.memory = SimpleNamespace(**seen)  # type: ignore[assignment]
    sys.argv = [program, *arguments]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
