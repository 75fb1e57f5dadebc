"""Implements the device interface for CUDA with CuPy, which no other file imports."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.errors import INSTALL, INSTEAD, said, translated
from backends.cupy_gpu.device.facts import device_facts, kernel_facts
from backends.cupy_gpu.device.interface import Device, DeviceArray, Stream
from backends.cupy_gpu.device.modules import KernelModules
from sparsednn.backend import DeviceError
from sparsednn.errors import MissingPackageError

_LOG = logging.getLogger(__name__)
PORTABLE = 1
"""cudaHostRegisterPortable: pinned for all devices."""

HOST_TO_DEVICE = 1
"""cudaMemcpyHostToDevice."""

NOT_PINNED = "host memory cannot be pinned (%s); copies from there are slower"
ALREADY_ENABLED = "cudaErrorPeerAccessAlreadyEnabled"
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
        raise MissingPackageError(f"{said(error)}; {INSTALL}") from error
    try:
        n_devices = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(
            f"backend=cupy: no usable GPU: {said(error)}; check that nvidia-smi lists one, or {INSTEAD}"
        ) from error
    if n_devices == 0:
        raise DeviceError(f"backend=cupy: no GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES, or {INSTEAD}")
    modules, peers = KernelModules(cupy), PeerAccess(cupy)
    return [CudaDevice(cupy, sparse, modules, peers, number) for number in range(n_devices)]


class CudaStream(Stream):
    """A stream of one device; waits for no other stream unless told to."""

    def __init__(self, cupy: Any, number: int) -> None:
        self._cupy, self._number = cupy, number
        self._kept: list[NDArray[Any]] = []
        with cupy.cuda.Device(number):
            self.library_stream = cupy.cuda.Stream(non_blocking=True)

    def record(self, again: Any = None) -> Any:
        if again is not None:
            return self.library_stream.record(again)
        with self._cupy.cuda.Device(self._number):
            return self.library_stream.record(self._cupy.cuda.Event())

    def wait(self, event: Any) -> None:
        self.library_stream.wait_event(event)

    def synchronize(self) -> None:
        self.library_stream.synchronize()
        self._kept.clear()

    def keep(self, array: NDArray[Any]) -> None:
        """Keep memory of the host until all that is in the stream is done: a copy from there may be yet to come."""
        self._kept.append(array)


class PeerAccess:
    """Direct copies between devices, without a detour through the host: switched on when two devices first need them.

    Parameters
    ----------
    cupy : module
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._direct: dict[tuple[int, int], bool] = {}
        self._lock = threading.Lock()

    def require(self, one: int, other: int) -> None:
        """Let two devices read each other's memory, where the machine can; copies work without, and are slower."""
        for device, peer in ((one, other), (other, one)):
            with self._lock:
                if (device, peer) not in self._direct:
                    self._direct[device, peer] = self._enable(device, peer)

    def of(self, device: int, n_devices: int) -> list[int]:
        """Return the devices, of all that there are, whose memory a device can read."""
        can = self._cupy.cuda.runtime.deviceCanAccessPeer
        return [peer for peer in range(n_devices) if peer != device and can(device, peer)]

    def _enable(self, device: int, peer: int) -> bool:
        runtime = self._cupy.cuda.runtime
        if not runtime.deviceCanAccessPeer(device, peer):
            return False
        with self._cupy.cuda.Device(device):
            try:
                runtime.deviceEnablePeerAccess(peer)
            except Exception as error:
                if ALREADY_ENABLED not in str(error):
                    raise
        return True


class CudaDevice(Device):
    """One GPU.

    Parameters
    ----------
    cupy, sparse : modules
        CuPy, and its module of sparse matrices.
    modules : KernelModules
    peers : PeerAccess
        Both are those of all devices.
    number : int
    """

    def __init__(self, cupy: Any, sparse: Any, modules: KernelModules, peers: PeerAccess, number: int) -> None:
        self.xp, self.sparse, self.number = cupy, sparse, number
        self._cupy, self._modules, self._peers = cupy, modules, peers
        self._kernels: dict[str, Any] = {}
        self._told = False

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
        source = np.ascontiguousarray(array)
        with self.current(stream):
            target = self.empty(array.size, array.dtype).reshape(array.shape)
            if array.size:
                target.set(source, stream=stream.library_stream)
                stream.keep(source)
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
    def pin(self, array: NDArray[np.uint8]) -> Iterator[bool]:
        pinned = array.nbytes > 0 and self._register(array)
        try:
            yield pinned
        finally:
            if pinned:
                with suppress(Exception):  # a device that has failed unpins nothing, and what it said is known by then
                    self._cupy.cuda.runtime.hostUnregister(array.ctypes.data)

    def _register(self, array: NDArray[np.uint8]) -> bool:
        """Pin memory; False, with one warning for all, where the system does not let it be pinned."""
        with self._cupy.cuda.Device(self.number):
            try:
                self._cupy.cuda.runtime.hostRegister(array.ctypes.data, array.nbytes, PORTABLE)
            except Exception as error:
                found = translated(error, self.number)
                if found is None:
                    raise
                if not self._told:
                    _LOG.warning(NOT_PINNED, said(error))
                self._told = True
                return False
        return True

    def copy_in(self, array: NDArray[np.uint8], target: DeviceArray, stream: CudaStream) -> None:
        with self.current(stream):
            self._cupy.cuda.runtime.memcpyAsync(
                target.data.ptr, array.ctypes.data, array.nbytes, HOST_TO_DEVICE, stream.library_stream.ptr
            )

    def copy_across(self, source: DeviceArray, target: DeviceArray, stream: CudaStream) -> None:
        self._peers.require(source.device.id, target.device.id)
        with self.current(stream):
            self._cupy.cuda.runtime.memcpyPeerAsync(
                target.data.ptr, target.device.id, source.data.ptr, source.device.id, source.nbytes, stream.library_stream.ptr
            )

    def launch(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: CudaStream,
        shared_bytes: int = 0,
    ) -> None:  # fmt: skip
        with self.current(stream):
            self.prepare(kernel, grid, block, arguments, shared_bytes)()

    def prepare(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], shared_bytes: int = 0
    ) -> Callable[[], None]:
        if kernel not in self._kernels:
            self._kernels[kernel] = self._modules.function(kernel, self.number)
        given = tuple(NO_ARRAY if argument is None else argument for argument in arguments)
        return partial(self._kernels[kernel], tuple(grid), tuple(block), given, shared_mem=shared_bytes)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        self._cupy.cuda.nvtx.RangePush(name)
        try:
            yield
        finally:
            self._cupy.cuda.nvtx.RangePop()

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
                "peers": self._peers.of(self.number, int(runtime.getDeviceCount())),
            }

    def facts(self) -> dict[str, Any]:
        with self.errors(), self._cupy.cuda.Device(self.number):
            return device_facts(self._cupy.cuda.runtime, self.number)

    def kernel_facts(self, kernel: str) -> dict[str, int]:
        with self.errors(), self._cupy.cuda.Device(self.number):
            return kernel_facts(self._cupy.cuda.driver, self._modules.function(kernel, self.number))
