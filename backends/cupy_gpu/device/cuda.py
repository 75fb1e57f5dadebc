"""Implements the device interface for CUDA with CuPy, which no other file imports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import Device, DeviceArray, Stream
from backends.cupy_gpu.kernels.source import OPTIONS, source
from sparsednn.backend import DeviceError
from sparsednn.errors import MissingPackageError

INSTALL = "install it with: pip install -e '.[gpu]' (CUDA 12) or '.[gpu13]' (CUDA 13), or use backend=numba"
INSTEAD = "use backend=numba to run without a GPU"
PORTABLE = 1
"""cudaHostRegisterPortable: pinned for all devices."""

HOST_TO_DEVICE = 1
"""cudaMemcpyHostToDevice."""

LIBRARY_PACKAGES = ("cupy", "cupyx", "cupy_backends")
NO_ARRAY = np.uint64(0)
"""A null pointer, as an argument of a kernel."""


def cuda_devices() -> list[CudaDevice]:
    """Return all devices that CUDA shows (CUDA_VISIBLE_DEVICES may hide some).

    Raises
    ------
    ImportError
        If CuPy is not installed.
    DeviceError
        If there is no driver, or no device.
    """
    try:
        cupy = import_module("cupy")
        sparse = import_module("cupyx.scipy.sparse")
    except ImportError as error:
        raise MissingPackageError(f"{error}; {INSTALL}") from error
    try:
        n_devices = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(
            f"backend=cupy: no usable GPU: {_said(error)}; check that nvidia-smi lists one, or {INSTEAD}"
        ) from error
    if n_devices == 0:
        raise DeviceError(f"backend=cupy: no GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES, or {INSTEAD}")
    module = cupy.RawModule(code=source(), options=OPTIONS)  # compiled when first used, and cached on disk
    return [CudaDevice(cupy, sparse, module, number) for number in range(n_devices)]


class CudaStream(Stream):
    """A stream of one device; waits for no other stream unless told to."""

    def __init__(self, cupy: Any, number: int) -> None:
        self._cupy, self._number = cupy, number
        with cupy.cuda.Device(number):
            self.library_stream = cupy.cuda.Stream(non_blocking=True)

    def record(self) -> Any:
        with self._cupy.cuda.Device(self._number):
            return self.library_stream.record(self._cupy.cuda.Event())

    def wait(self, event: Any) -> None:
        self.library_stream.wait_event(event)

    def synchronize(self) -> None:
        self.library_stream.synchronize()


class CudaDevice(Device):
    """One GPU.

    Parameters
    ----------
    cupy, sparse : modules
        CuPy, and its module of sparse matrices.
    module : cupy.RawModule
        The kernels.
    number : int
    """

    def __init__(self, cupy: Any, sparse: Any, module: Any, number: int) -> None:
        self.xp, self.sparse, self.number = cupy, sparse, number
        self._cupy, self._module = cupy, module
        self._kernels: dict[str, Any] = {}

    def new_stream(self) -> CudaStream:
        return CudaStream(self._cupy, self.number)

    @contextmanager
    def current(self, stream: CudaStream) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self._cupy.cuda.Device(self.number))
            stack.enter_context(stream.library_stream)
            yield

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            found = translated(error, self.number)
            if found is None:
                raise
            raise found from error

    def empty(self, n: int, dtype: Any) -> DeviceArray:
        with self._cupy.cuda.Device(self.number):
            return self._cupy.empty(n, dtype)

    def upload(self, array: NDArray[Any], stream: CudaStream) -> DeviceArray:
        target = self.empty(array.size, array.dtype).reshape(array.shape)
        if array.size:
            with self.current(stream):
                target.set(np.ascontiguousarray(array), stream=stream.library_stream)
        return target

    def download(self, array: DeviceArray, stream: CudaStream) -> NDArray[Any]:
        with self.current(stream):
            found: NDArray[Any] = array.get(stream=stream.library_stream)
        stream.synchronize()
        return found

    def zero(self, array: DeviceArray, stream: CudaStream) -> None:
        with self.current(stream):
            array.data.memset_async(0, array.nbytes, stream.library_stream)

    @contextmanager
    def pin(self, array: NDArray[np.uint8]) -> Iterator[None]:
        runtime, pointer = self._cupy.cuda.runtime, array.ctypes.data
        with self.errors(), self._cupy.cuda.Device(self.number):
            if array.nbytes:
                runtime.hostRegister(pointer, array.nbytes, PORTABLE)
        try:
            yield
        finally:
            if array.nbytes:
                with suppress(Exception):  # a device that has failed unpins nothing, and what it said is known by then
                    runtime.hostUnregister(pointer)

    def copy_in(self, array: NDArray[np.uint8], target: DeviceArray, stream: CudaStream) -> None:
        with self.current(stream):
            self._cupy.cuda.runtime.memcpyAsync(
                target.data.ptr, array.ctypes.data, array.nbytes, HOST_TO_DEVICE, stream.library_stream.ptr
            )

    def copy_across(self, source: DeviceArray, target: DeviceArray, stream: CudaStream) -> None:
        with self.current(stream):
            self._cupy.cuda.runtime.memcpyPeerAsync(
                target.data.ptr, target.device.id, source.data.ptr, source.device.id, source.nbytes, stream.library_stream.ptr
            )

    def launch(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: CudaStream,
        shared_bytes: int = 0,
    ) -> None:  # fmt: skip
        if kernel not in self._kernels:
            self._kernels[kernel] = self._module.get_function(kernel)
        given = tuple(NO_ARRAY if argument is None else argument for argument in arguments)
        with self.current(stream):
            self._kernels[kernel](tuple(grid), tuple(block), given, shared_mem=shared_bytes)

    def seconds_between(self, begin: Any, end: Any) -> float:
        return 1e-3 * float(self._cupy.cuda.get_elapsed_time(begin, end))

    def free_bytes(self) -> int:
        """Return how much of the device's memory may still be taken; what CuPy keeps for itself counts as free."""
        with self.errors(), self._cupy.cuda.Device(self.number):
            return int(self._cupy.cuda.runtime.memGetInfo()[0]) + int(self._cupy.get_default_memory_pool().free_bytes())

    def release_unused(self) -> None:
        with self.errors(), self._cupy.cuda.Device(self.number):
            self._cupy.get_default_memory_pool().free_all_blocks()

    def used_bytes(self) -> int:
        """Return how much of it this process holds; what CuPy keeps for itself counts: the most that was needed at once."""
        with self.errors(), self._cupy.cuda.Device(self.number):
            return int(self._cupy.get_default_memory_pool().total_bytes())

    def describe(self) -> dict[str, Any]:
        runtime = self._cupy.cuda.runtime
        with self.errors(), self._cupy.cuda.Device(self.number) as device:
            properties = runtime.getDeviceProperties(self.number)
            name = properties["name"]
            return {
                "name": name.decode() if isinstance(name, bytes) else str(name),
                "number": self.number,
                "compute_capability": str(device.compute_capability),
                "memory_bytes": int(properties["totalGlobalMem"]),
                "driver": int(runtime.driverGetVersion()),
                "runtime": int(runtime.runtimeGetVersion()),
                "cupy": str(self._cupy.__version__),
            }


def translated(error: Exception, number: int) -> Exception | None:
    """Return this project's error for one of CuPy's; None for any other error."""
    ours = type(error).__module__.partition(".")[0] in LIBRARY_PACKAGES
    if isinstance(error, MemoryError) and ours:
        return MemoryError(
            f"backend=cupy: device {number} has too little memory: {_said(error)}; use a smaller block_rows, "
            "residency=stream, threads=1 or backend=numba"
        )
    if ours:
        return DeviceError(
            f"backend=cupy: device {number} failed: {_said(error)}; a device may be unusable for this process from then on: "
            f"run again, or {INSTEAD}"
        )
    if isinstance(error, ImportError):  # a CUDA library is loaded when it is first used
        return DeviceError(
            f"backend=cupy: a CUDA library is missing: {_said(error)}; the extras gpu and gpu13 bring them all: {INSTALL}"
        )
    return None


def _said(error: Exception) -> str:
    """An error's text in one line."""
    return " ".join((str(error) or type(error).__name__).split())
