"""Devices through CuPy, which NumPy plays: its calls, and each of its errors as one line with the way out."""

from __future__ import annotations

import gc
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.device import cuda, modules
from backends.cupy_gpu.device.cuda import CudaDevice, cuda_devices
from backends.cupy_gpu.device.errors import translated
from sparsednn.backend import DeviceError, load_backend
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE
from tests.conformance.test_schedulers import eager
from tests.gpu import host_kernels
from tests.gpu.fake_cupy import CUDARuntimeError, Fake, OutOfMemoryError
from tests.gpu.test_streams import deep

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")


def infer(network: sparsednn.Network, inputs: sp.csr_array, **options: Any) -> sparsednn.Result:
    return sparsednn.infer(network, inputs, **{"backend": "cupy", "threads": 2, "output": True, **options})


@needs_compiler
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="in memory"),
        pytest.param({"residency": "stream"}, id="streamed"),
        pytest.param({"scheduler": "model"}, id="a team on two devices"),
        pytest.param({"scheduler": "model", "residency": "stream"}, id="a team that streams"),
        pytest.param({"rows": "none", "columns": "none"}, id="nothing is dropped"),
    ],
)
def test_inference_through_cupy(fake: Fake, threads: int, options: dict[str, Any], rng: np.random.Generator) -> None:
    network, inputs = deep(rng)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    if "scheduler" in options:
        options = {**options, "scheduler": eager(options["scheduler"])}
    result = infer(network, inputs, threads=threads, **options)
    assert same_bits(result.output, expected.output)
    device = result.record["device"]
    assert device["devices"][0] == {
        "name": "Fake GPU", "number": 0, "compute_capability": "90", "memory_bytes": 2**31, "driver": 13000, "runtime": 12090,
        "cupy": "0.0", "peers": [1], "used_bytes": 7,
    }  # fmt: skip
    assert len(device["devices"]) == min(threads, 2)
    assert device["row_groups_s"] == pytest.approx(0.002 * device["row_groups"])
    assert device["row_groups"] == (1 if "scheduler" in options else threads)
    del result
    gc.collect()
    assert fake.registered == {}, "what was pinned is free again"


def test_cupy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(cuda, "import_module", missing)
    with pytest.raises(ImportError) as caught:
        load_backend("cupy")
    assert str(caught.value) == (
        "backend=cupy needs a package that cannot be imported: No module named 'cupy'; install it with: "
        "pip install -e '.[gpu]' (CUDA 12) or '.[gpu13]' (CUDA 13), or use backend=numba"
    )


@pytest.mark.parametrize(
    ("failures", "n_devices", "message"),
    [
        pytest.param(
            {"getDeviceCount": CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")}, 1,
            "backend=cupy: no usable GPU: cudaErrorInsufficientDriver: CUDA driver version is insufficient; check that "
            "nvidia-smi lists one, or use backend=numba to run without a GPU",
            id="no driver",
        ),
        pytest.param(
            {}, 0, "backend=cupy: no GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES, or use backend=numba to run "
            "without a GPU",
            id="no device",
        ),
    ],
)  # fmt: skip
def test_no_device(fake: Fake, failures: dict[str, Exception], n_devices: int, message: str) -> None:
    fake.failures, fake.n_devices = failures, n_devices
    with pytest.raises(DeviceError) as caught:
        load_backend("cupy")
    assert str(caught.value) == message


@needs_compiler
@pytest.mark.parametrize(
    ("where", "error", "kind", "message"),
    [
        pytest.param(
            "empty", OutOfMemoryError("Out of memory allocating 7 bytes"), MemoryError,
            r"^backend=cupy: device [01] has too little memory: Out of memory allocating 7 bytes; use a smaller "
            r"block_rows, residency=stream, threads=1 or backend=numba$",
            id="out of memory",
        ),
        pytest.param(
            "sum_rows", CUDARuntimeError("cudaErrorIllegalAddress:\n an illegal memory access"), DeviceError,
            r"^backend=cupy: device [01] failed: cudaErrorIllegalAddress: an illegal memory access; a device may be unusable "
            r"for this process from then on: run again, or use backend=numba to run without a GPU$",
            id="a kernel fails",
        ),
        pytest.param(
            "csr_matrix", RuntimeError("CuPy failed to load libcusparse.so.12: OSError: no such file"), DeviceError,
            r"^backend=cupy: a CUDA library is missing: CuPy failed to load libcusparse.so.12: OSError: no such file; "
            r"the extras gpu and gpu13 bring them all: install it with: pip install -e '\.\[gpu\]'",
            id="a CUDA library cannot be loaded",
        ),
        pytest.param(
            "compile", RuntimeError("Failed to find CUDA headers. Please install CUDA toolkit\nheaders"), DeviceError,
            r"^backend=cupy: a CUDA library is missing: Failed to find CUDA headers. Please install CUDA toolkit headers; ",
            id="headers are missing",
        ),
        pytest.param(
            "csr_matrix", AssertionError("\n*** The requested function could not be found in the library.\n***"), DeviceError,
            r"^backend=cupy: a CUDA library is missing: \*\*\* The requested function could not be found in the library. ",
            id="a library is too old",
        ),
        pytest.param(
            "finish_layer", RuntimeError("stream and device do not match"), DeviceError,
            r"^backend=cupy: device [01] failed: stream and device do not match;", id="an error of Python's own",
        ),
        pytest.param(
            "memGetInfo", CUDARuntimeError("cudaErrorECCUncorrectable"), DeviceError,
            r"^backend=cupy: device 0 failed: cudaErrorECCUncorrectable;", id="the device is broken",
        ),
    ],
)  # fmt: skip
def test_errors_of_cuda(
    fake: Fake, where: str, error: Exception, kind: type[Exception], message: str, rng: np.random.Generator
) -> None:
    network, inputs = deep(rng)
    fake.failures = {where: error}
    kernel = "cusparse_spmm" if where in ("csr_matrix", "finish_layer") else "fused"
    with pytest.raises(kind, match=message):
        infer(network, inputs, residency="stream", kernel=kernel)


@needs_compiler
def test_memory_that_cannot_be_unpinned_says_no_more(
    fake: Fake, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that has failed unpins nothing; its one line is not followed by the traceback of a finalizer."""
    network, inputs = deep(rng)
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    broken = CUDARuntimeError("cudaErrorIllegalAddress")
    fake.failures = {"sum_rows": broken, "hostUnregister": broken}
    with pytest.raises(DeviceError):
        infer(network, inputs, residency="stream")
    gc.collect()
    assert not unraisable


@needs_compiler
def test_memory_that_cannot_be_pinned_is_copied_from_all_the_same(
    fake: Fake, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """Some containers and systems pin nothing; copies are slower then, which is said once and is in the record."""
    network, inputs = deep(rng)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    pinned = infer(network, inputs, residency="stream")
    assert pinned.record["device"]["layers_pinned"] is True
    fake.failures = {"hostRegister": CUDARuntimeError("cudaErrorNotSupported: operation not supported")}
    result = infer(network, inputs, residency="stream")
    assert result.record["device"]["layers_pinned"] is False
    assert same_bits(result.output, expected.output)
    assert caplog.messages == [
        "host memory cannot be pinned (cudaErrorNotSupported: operation not supported); copies from there are slower"
    ]


@needs_compiler
def test_too_little_memory_is_refused_before_anything_is_put_there(fake: Fake, rng: np.random.Generator) -> None:
    network, inputs = deep(rng)
    fake.free = 1000
    with pytest.raises(MemoryError, match=r"backend=cupy: device 0 has 0.0 MB free, .*residency=stream"):
        infer(network, inputs)
    assert not [line for line in fake.log if "on 0" in line]


def test_errors_of_others_stay_as_they_are() -> None:
    assert translated(ValueError("ours"), 0) is None
    assert translated(MemoryError("the host's"), 0) is None
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("ours, with a text like theirs: failed to load")
    assert translated(caught.value, 0) is None


def test_all_visible_devices_are_there(fake: Fake) -> None:
    devices = cuda_devices()
    assert [device.number for device in devices] == [0, 1]
    assert all(isinstance(device, CudaDevice) for device in devices)
    assert CupyBackend().place(0, 1) == 2
    assert CupyBackend().place(3, 4) == 1


@needs_compiler
def test_kernels_are_compiled_once_for_devices_of_a_generation_and_kept(
    fake: Fake, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    network, inputs = deep(rng)
    for _ in range(2):  # another process
        result = infer(network, inputs)
        assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert [line for line in fake.log if line.startswith("NVRTC")] == ["NVRTC for 0"]
    monkeypatch.setattr(modules, "OPTIONS", (*modules.OPTIONS, "-other"))
    infer(network, inputs)
    assert [line for line in fake.log if line.startswith("NVRTC")] == ["NVRTC for 0"] * 2, "what is compiled in another way"


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed: see test_cupy_api")
def test_run_py_without_cupy_says_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "run.py", "backend=cupy", f"hydra.run.dir={tmp_path}"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if "cupy" in line]
    assert len(said) == 1, done.stdout + done.stderr
    assert "pip install -e '.[gpu]'" in said[0]
    assert "use backend=numba" in said[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("running.json"))
