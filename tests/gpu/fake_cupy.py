"""Plays, with NumPy, the part of CuPy that `backends.cupy_gpu.device.cuda` uses: everything is done at once, on the host.

It is strict where CUDA is silent: arrays know their device, and a kernel must be launched on it; memory of the host that is
copied from must live until somebody has waited for the copy; devices copy from each other after access was enabled. It says
what CuPy does in silence: `Fake.log` has all that the backend lets a device do, `Fake.waits` what waits for the device. And it
flushes denormal numbers to zero where CuPy would have them flushed. `Fake.failures` are calls that raise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.gpu import host_kernels
from tests.gpu.fake_streams import Array, Csr, Device, Event, Stream, asked_by_the_backend, current_device, has_a_stream


class CUDARuntimeError(RuntimeError):
    """As CuPy's: it is known by its module."""


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


CUDARuntimeError.__module__ = "cupy_backends.cuda.api.runtime"
OutOfMemoryError.__module__ = "cupy.cuda.memory"


class Module:
    """Machine code on the device that was current when it was loaded."""

    def __init__(self, fake: Fake) -> None:
        self._fake, self._options, self._number = fake, "", current_device()

    def load(self, code: bytes) -> None:
        assert code.startswith(MACHINE_CODE), "the last byte is there, too"
        self._options = code.removeprefix(MACHINE_CODE).decode()

    def get_function(self, name: str) -> Callable[..., None]:
        self._fake.log.append(f"{name} is loaded on {self._number}")
        return self._fake.kernel(name, self._number, flushes="-ftz=true" in self._options)


MACHINE_CODE = b"cubin "


class Fake:
    """The module.

    Parameters
    ----------
    n_devices : int
    free : int
        Bytes that are free on each device.
    direct : bool
        Whether devices can read each other's memory.
    """

    __version__ = "0.0"

    def __init__(self, n_devices: int = 1, free: int = 2**30, direct: bool = True) -> None:
        self.n_devices, self.free, self.direct = n_devices, free, direct
        self.failures: dict[str, Exception] = {}
        self.registered: dict[int, int] = {}
        self.log: list[str] = []
        self.waits: list[str] = []
        self.largest = 0
        self.ranges: list[str] = []
        self.open_ranges = 0
        self.enabled: list[tuple[int, int]] = []
        Array.log = self.log
        self._allocated: list[tuple[int, int, int]] = []
        runtime = {
            "getDeviceCount": lambda: self.n_devices,
            "memGetInfo": lambda: (self.free, 2 * self.free),
            "getDeviceProperties": lambda number: {"name": b"Fake GPU", "totalGlobalMem": 2 * self.free},
            "driverGetVersion": lambda: 13000,
            "runtimeGetVersion": lambda: 12090,
            "hostRegister": self._register,
            "hostUnregister": lambda pointer: self.registered.pop(pointer),
            "memcpyAsync": self._copy,
            "memcpyPeerAsync": self._copy_peer,
            "deviceCanAccessPeer": lambda device, peer: int(self.direct),
            "deviceEnablePeerAccess": self._enable_peer_access,
            "deviceGetAttribute": self._attribute,
            "deviceGetPCIBusId": lambda number: f"0000:{number:02d}:00.0",
        }
        checked = {name: self._checked(name, call) for name, call in runtime.items()}
        self.cuda = SimpleNamespace(
            Device=Device, Stream=Stream, Event=Event, runtime=SimpleNamespace(**checked),
            get_elapsed_time=lambda begin, end: 2.0 * (begin.timed and end.timed),
            compiler=SimpleNamespace(compile_using_nvrtc=self._compile), nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            function=SimpleNamespace(Module=lambda: Module(self)),
            nvtx=SimpleNamespace(RangePush=self._push, RangePop=self._pop),
            driver=SimpleNamespace(funcGetAttribute=self._checked("funcGetAttribute", lambda code, of: 10 * code)),
        )  # fmt: skip
        self.sparse: Any = SimpleNamespace(csr_matrix=self._csr_matrix)

    def __getattr__(self, name: str) -> Any:
        """An attribute of NumPy, as an array module has it."""
        found = getattr(np, name)
        if callable(found) and not isinstance(found, type) and asked_by_the_backend():
            self.log.append(f"{name} on {current_device()}")
            if name == "bincount":
                self.waits.append(name)
            return lambda *given, **options: _on_device(found(*given, **options))
        return found

    def empty(self, shape: int, dtype: Any) -> Array:
        self._may_fail("empty")
        array = Array.of(np.empty(shape, dtype))
        self.largest = max(self.largest, array.nbytes)
        self._allocated.append((array.ctypes.data, array.ctypes.data + max(array.nbytes, 1), array.number))
        return array

    def _owner(self, pointer: int) -> int:
        """The device whose memory a pointer points into; what was allocated last counts."""
        return next(number for begin, end, number in reversed(self._allocated) if begin <= pointer < end)

    def RawModule(self, code: str, options: tuple[str, ...]) -> Any:  # noqa: N802
        """As CuPy's, which adds an option behind all others."""
        module = Module(self)
        module.load(self._compile(code, (*options, "-ftz=true"))[0])
        return module

    def _compile(self, code: str, options: tuple[str, ...] = ()) -> tuple[bytes, None]:
        assert "--fmad=false" in options
        self.log.append(f"NVRTC for {current_device()}")
        self._may_fail("compile")
        return MACHINE_CODE + " ".join(options).encode(), None

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_bytes=lambda: 0, total_bytes=lambda: 7, free_all_blocks=lambda: None)

    def kernel(self, name: str, number: int, flushes: bool) -> Callable[..., None]:
        """A kernel that has been loaded on a device."""

        def kernel(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], shared_mem: int = 0) -> None:
            self._may_fail(name)
            assert has_a_stream(), "a kernel in the default stream"
            assert current_device() == number, "a kernel of another device"
            given = []
            for argument in arguments:
                assert not isinstance(argument, np.ndarray) or argument.number in (None, number), name
                given.append(None if isinstance(argument, np.uint64) and argument == 0 else argument)
            self.log.append(f"{name} on {number}")
            host_kernels.call(name, grid, block, given, shared_mem, flushes)
            self.after(name, given)

        kernel.ptr = id(kernel)  # type: ignore[attr-defined]
        return kernel

    def after(self, name: str, arguments: list[Any]) -> None:
        """Nothing goes wrong once a kernel is through."""

    def _attribute(self, code: int, number: int) -> int:
        """As a runtime that has forgotten one."""
        if code == 13:
            raise CUDARuntimeError("cudaErrorInvalidValue: invalid argument")
        return 2 * code

    def _csr_matrix(self, given: Any, shape: tuple[int, int] | None = None, dtype: Any = None) -> Any:
        """As CuPy 14: of three arrays, whose ends it reads, or of a dense one it is made when all before it is done."""
        self._may_fail("csr_matrix")
        if not (isinstance(given, tuple) and len(given) == 2):
            self.waits.append("csr_matrix")
        return Csr(given, shape=shape, dtype=dtype)

    def _push(self, name: str) -> None:
        self.ranges.append(name)
        self.open_ranges += 1

    def _pop(self) -> None:
        self.open_ranges -= 1

    def _checked(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            self._may_fail(name)
            return call(*arguments)

        return checked

    def _may_fail(self, name: str) -> None:
        if name in self.failures:
            RAISED_BY_CUPY(self.failures[name])

    def _register(self, pointer: int, size: int, flags: int) -> None:
        assert flags == 1, "pinned for all devices"
        if pointer in self.registered:
            raise CUDARuntimeError("cudaErrorHostMemoryAlreadyRegistered: part or all of the requested memory range is mapped")
        self.registered[pointer] = size

    def _copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        assert kind == 1, "from the host"
        pinned = any(begin <= source and source + size <= begin + n for begin, n in self.registered.items())
        assert pinned or "hostRegister" in self.failures, "not pinned, though it can be"
        ctypes.memmove(target, source, size)

    def _copy_peer(self, target: int, to: int, source: int, of: int, size: int, stream: int) -> None:
        assert to != of
        assert (self._owner(target), self._owner(source)) == (to, of), "memory of another device"
        assert not self.direct or {(to, of), (of, to)} <= {*self.enabled}, "a copy that goes through the host for no reason"
        self.log.append(f"a copy from {of} to {to}")
        ctypes.memmove(target, source, size)

    def _enable_peer_access(self, peer: int) -> None:
        self.log.append(f"{current_device()} reads {peer}")
        if (current_device(), peer) in self.enabled:
            raise CUDARuntimeError("cudaErrorPeerAccessAlreadyEnabled: peer access is already enabled")
        self.enabled.append((current_device(), peer))


def _on_device(found: Any) -> Any:
    return Array.of(found) if isinstance(found, np.ndarray) else found


def _raiser(module: str) -> Callable[[Exception], None]:
    """A function of a module of CuPy that raises."""
    space: dict[str, Any] = {"__name__": module}
    exec("def fail(error):\n    raise error", space)
    return space["fail"]  # type: ignore[no-any-return]


RAISED_BY_CUPY = _raiser("cupy_backends.cuda._softlink")
