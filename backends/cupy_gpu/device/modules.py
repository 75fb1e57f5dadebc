"""Compiles the kernels with NVRTC, for each generation of devices once, and loads them on each device.

Not through ``cupy.RawModule``, which adds ``-ftz=true`` behind all other options: denormal numbers would become zeros, and
results would not have the bits of the CPU.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np

from backends.cupy_gpu.kernels.source import OPTIONS, source
from sparsednn.system.cache import cache_folder, read_cached, write_cached

OTHERWISE = "the GPU kernels are compiled in every run"


class KernelModules:
    """The kernels on all devices of this process: compiled, or found in the cache, when a device first needs them.

    Parameters
    ----------
    cupy : module
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._code: dict[str, bytes] = {}
        self._loaded: dict[int, Any] = {}
        self._lock = threading.Lock()

    def function(self, kernel: str, number: int) -> Any:
        """Return a kernel, to be called, on a device by its number."""
        with self._lock, self._cupy.cuda.Device(number) as device:
            if number not in self._loaded:
                module = self._cupy.cuda.function.Module()
                module.load(self._machine_code(str(device.compute_capability)))
                self._loaded[number] = module
            return self._loaded[number].get_function(kernel)

    def _machine_code(self, generation: str) -> bytes:
        """Return the kernels for the current device's generation, as it is loaded."""
        if generation not in self._code:
            path = cache_folder() / "gpu_kernels" / f"{self._digest(generation)}.npz"
            found = read_cached(path, "code", OTHERWISE)
            if found is None:
                code, _ = self._cupy.cuda.compiler.compile_using_nvrtc(source(), OPTIONS)
                found = np.frombuffer(code, np.uint8)
                compiled = found
                write_cached(path, lambda file: _save(file, compiled), OTHERWISE)
            self._code[generation] = found.tobytes()
        return self._code[generation]

    def _digest(self, generation: str) -> str:
        """Name all that decides what is compiled."""
        compiler = (self._cupy.__version__, self._cupy.cuda.nvrtc.getVersion())
        return hashlib.sha256(repr((generation, source(), OPTIONS, compiler)).encode()).hexdigest()[:32]


def _save(path: Path, code: Any) -> None:
    with path.open("wb") as file:
        np.savez(file, code=code)
