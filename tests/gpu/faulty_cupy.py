"""Takes CuPy's place in another process, where calls can end it, hang in it, or be wrong by a bit.

A folder on that process's search path has what `modules` returns; the variable `FAULTS` says which calls do what:
``funcGetAttribute=crash,copy of 1024=hang``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import numpy as np

from tests.gpu.fake_cupy import CUDARuntimeError, Fake

FAULTS = "FAULTS_OF_CUPY"
MODULES = {
    "cupy.py": "from tests.gpu.faulty_cupy import take_place\n\ntake_place(__name__)\n",
    "cupyx/scipy/sparse.py": "import sys\n\nimport cupy\n\nsys.modules[__name__] = cupy.sparse\n",
}
"""Files of the folder."""


class FaultyCupy(Fake):
    """CuPy with one device. A fault can be that of one size: ``empty of 1024``, ``copy of 1024`` (from pinned memory)."""

    def __init__(self) -> None:
        super().__init__(1)
        self._faults = dict(fault.split("=") for fault in os.environ.get(FAULTS, "").split(",") if fault)

    def _may_fail(self, name: str) -> None:
        fault = self._faults.get(name)
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "hang":
            time.sleep(3600)
        elif fault == "error":
            self.failures[name] = CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")
        super()._may_fail(name)

    def empty(self, shape: int, dtype: Any) -> Any:
        self._may_fail(f"empty of {shape}")
        return super().empty(shape, dtype)

    def _copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        self._may_fail(f"copy of {size}")
        super()._copy(target, source, size, kind, stream)

    def after(self, name: str, arguments: list[Any]) -> None:
        if self._faults.get(name) == "wrong":
            y = np.asarray(arguments[1]).view(np.uint32)
            y[np.flatnonzero(y)[:1]] ^= 1


def take_place(name: str) -> None:
    """Be what ``import cupy`` finds."""
    sys.modules[name] = FaultyCupy()  # type: ignore[assignment]
