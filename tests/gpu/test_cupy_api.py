"""CuPy as it is installed, without a GPU: it has what the backend calls, with these parameters."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backends.cupy_gpu.device import modules
from backends.cupy_gpu.device.modules import KernelModules
from backends.cupy_gpu.kernels.source import OPTIONS, source
from tests.gpu import nvrtc
from tests.gpu.fake_cupy import Fake

pytestmark = pytest.mark.cupy

ROOT = Path(__file__).parents[2]

CALLS = {
    "empty": "shape dtype",
    "cuda.compiler.compile_using_nvrtc": "source options",
    "cuda.nvrtc.getVersion": "",
    "cuda.function.Module": "",
    "cuda.function.Module.load": "cubin",
    "cuda.function.Module.get_function": "name",
    "cuda.function.Function.__call__": "",
    "ndarray.set": "arr stream",
    "ndarray.get": "stream",
    "cuda.Device": "",
    "cuda.Stream": "non_blocking",
    "cuda.Stream.record": "event",
    "cuda.Stream.wait_event": "event",
    "cuda.Stream.synchronize": "",
    "cuda.Event": "",
    "cuda.Event.synchronize": "",
    "cuda.nvtx.RangePush": "message",
    "cuda.nvtx.RangePop": "",
    "cuda.get_elapsed_time": "start_event end_event",
    "cuda.MemoryPointer.memset_async": "value size stream",
    "cuda.runtime.getDeviceCount": "",
    "cuda.runtime.memGetInfo": "",
    "cuda.runtime.getDeviceProperties": "device",
    "cuda.runtime.driverGetVersion": "",
    "cuda.runtime.runtimeGetVersion": "",
    "cuda.runtime.deviceGetAttribute": "attrib device",
    "cuda.runtime.deviceGetPCIBusId": "device",
    "cuda.driver.funcGetAttribute": "attribute f",
    "cuda.runtime.hostRegister": "ptr size flags",
    "cuda.runtime.hostUnregister": "ptr",
    "cuda.runtime.memcpyAsync": "dst src size kind stream",
    "cuda.runtime.deviceCanAccessPeer": "device peerDevice",
    "cuda.runtime.deviceEnablePeerAccess": "peerDevice",
    "cuda.runtime.memcpyPeerAsync": "dst dstDevice src srcDevice size stream",
    "get_default_memory_pool": "",
    "cuda.MemoryPool.free_bytes": "",
    "cuda.MemoryPool.total_bytes": "",
    "cuda.MemoryPool.free_all_blocks": "",
}
"""Functions that `backends.cupy_gpu.device.cuda` calls, and the names of their arguments, in their order."""

ARRAY_MODULE = ("ascontiguousarray", "clip", "where", "searchsorted", "arange", "diff", "sort")
"""Names that the cuSPARSE kernels take from the array module."""


def found(path: str) -> Any:
    """One of CuPy's attributes."""
    value: Any = importlib.import_module("cupy")
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(("path", "parameters"), CALLS.items(), ids=CALLS.keys())
def test_cupy_has_what_is_called(path: str, parameters: str) -> None:
    """Compiled functions tell their parameters in the first line of their docstrings, and classes in that of __init__."""
    call = found(path)
    assert callable(call)
    try:
        said = str(inspect.signature(call))
    except ValueError:
        documented = f"{call.__doc__ or ''} {getattr(call.__init__, '__doc__', '') or ''}"
        said = " ".join(documented.split())
    at = -1
    for name in parameters.split():
        at = said.find(name, at + 1)
        assert at >= 0, f"{path} has no {name} there: {said[:300]}"


@pytest.mark.parametrize("name", ARRAY_MODULE)
def test_cupy_has_the_functions_of_numpy(name: str) -> None:
    assert callable(found(name))


@pytest.mark.parametrize("name", ["data", "device", "nbytes", "reshape", "view", "flags"])
def test_arrays_have_what_is_used(name: str) -> None:
    assert hasattr(found("ndarray"), name)


def test_sparse_matrices_have_what_is_used() -> None:
    matrix = importlib.import_module("cupyx.scipy.sparse").csr_matrix
    constructors = [inspect.signature(base.__init__).parameters for base in matrix.__mro__ if "__init__" in vars(base)]
    assert any({"arg1", "dtype"} <= set(parameters) for parameters in constructors)
    for name in ("__matmul__", "eliminate_zeros", "toarray", "nnz"):
        assert hasattr(matrix, name)
    assert matrix.has_canonical_format.fset is not None


def test_errors_are_known_by_their_modules() -> None:
    error, memory = found("cuda.runtime.CUDARuntimeError"), found("cuda.memory.OutOfMemoryError")
    assert error.__module__.startswith("cupy_backends.")
    assert memory.__module__.startswith("cupy.")
    assert issubclass(memory, MemoryError)


def test_the_fake_has_nothing_that_cupy_has_not() -> None:
    fake = Fake()
    for name in vars(fake.cuda):
        assert hasattr(found("cuda"), name)
    for name in vars(fake.cuda.runtime):
        assert hasattr(found("cuda.runtime"), name)


def test_kernels_are_compiled_with_our_options_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As CuPy does it, seen by NVRTC: nothing is fused, and no denormal number becomes zero, as ``RawModule`` would have it."""
    compiler = importlib.import_module("cupy.cuda.compiler")
    original, seen = compiler._NVRTCProgram.compile, list[tuple[str, ...]]()

    def compile_as_told(self: Any, options: tuple[str, ...] = (), log_stream: Any = None) -> Any:
        seen.append(tuple(options))
        return original(self, options, log_stream)

    monkeypatch.setattr(compiler._NVRTCProgram, "compile", compile_as_told)
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch=None: ("-arch=compute_80", "ptx"))
    monkeypatch.setattr(modules, "read_cached", lambda *about: None)
    monkeypatch.setattr(modules, "write_cached", lambda *about: None)
    code = KernelModules(importlib.import_module("cupy"))._machine_code("80").decode()
    assert {*seen[0]} - {"-arch=compute_80"} == {*OPTIONS, *nvrtc.ADDED_BY_CUPY}, "as the tests compile"
    assert not [option for option in seen[0] if "ftz" in option or "fast" in option]
    assert code.count(".visible .entry") > 10
    assert ".ftz" not in code
    assert "fma.rn.f32" not in code
    flushed = compiler.compile_using_nvrtc(source(), (*OPTIONS, "-ftz=true"))[0]
    assert b".ftz" in flushed, "it would be found"


def test_run_py_without_a_driver_says_one_line(tmp_path: Path) -> None:
    count = "import cupy; print(cupy.cuda.runtime.getDeviceCount())"
    probe = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=False)
    done = subprocess.run(
        [sys.executable, "run.py", "backend=cupy", "instances=60", f"hydra.run.dir={tmp_path}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if probe.returncode == 0 and int(probe.stdout) > 0:
        assert done.returncode == 0, "there is a GPU: it runs"
        return
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if "backend=cupy: no " in line]
    assert len(said) == 1, done.stdout + done.stderr
    assert "use backend=numba" in said[0]
    assert "Traceback" not in done.stdout + done.stderr
