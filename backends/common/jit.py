"""Compiles all kernels by one policy, and gives them atomic access to shared memory, a clock, and ways to wait.

Kernels release the GIL, are cached on disk, and never reassociate or fuse floating-point operations, so that their results
have the same bits as scipy's. The cache is `backends.common.kernel_cache`.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numba.core.config
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.core.registry import CPUDispatcher
from numba.extending import intrinsic

from backends.common.kernel_cache import KernelCache
from backends.common.vectors import INTO_L1, prefetch_line

_CONFIG: Any = numba.core.config
F = TypeVar("F", bound=Callable[..., Any])
_BYTE, _INT32, _INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_CLOCK_MONOTONIC = 1
JIT_DISABLED = bool(_CONFIG.DISABLE_JIT)

CPU_FEATURES: str = get_host_cpu_features() if _CONFIG.CPU_FEATURES is None else _CONFIG.CPU_FEATURES
"""Features of the processor that kernels are compiled for, as Numba passes them to LLVM: ``+avx2,-avx512f,...``"""


_POLICY: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False, "no_cfunc_wrapper": True}


class Helper(CPUDispatcher):
    """Dispatcher of a function that only kernels call: there is nothing that would take Python's objects to it.

    It is compiled once for all numbers of a type: Numba would compile it, and all that it calls, once more for each place where
    an argument is a number that is written there.
    """

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Return how a call is typed, and compile what is called."""
        return super().get_call_template(tuple(map(types.unliteral, args)), {name: types.unliteral(kws[name]) for name in kws})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse what would end the process: Numba would jump to a function that was not made."""
        raise TypeError(f"{self.py_func.__name__} is compiled for kernels alone; call `as_python` of it")


def kernel(function: F) -> F:
    """Compile a kernel when it is first called: no GIL, cached, plain IEEE arithmetic, C division."""
    compiled: Any = numba.njit(**_POLICY)(function)
    if not JIT_DISABLED:
        compiled._cache = KernelCache(function)
    return compiled  # type: ignore[no-any-return]


def _helper(function: F, **flags: bool) -> F:
    compiled: Any = numba.njit(**(_POLICY | {"no_cpython_wrapper": True} | flags))(function)
    if not JIT_DISABLED:
        compiled.__class__ = Helper
    return compiled  # type: ignore[no-any-return]


def inline(function: F) -> F:
    """Compile a helper that kernels call; the compiler inlines it where that pays.

    It has none of the wrappers by which Python and C call a function: to unpack tuples of arrays they take longer to compile
    than what most helpers do.
    """
    return _helper(function)


def always_inline(function: F) -> F:
    """Compile a helper that is part of each kernel that calls it: for what a call would take as long as.

    LLVM does this, when references have been counted already. Numba's own way (`inline="always"`) is another: it lets arrays of
    tuples be counted within loops.
    """
    return _helper(function, forceinline=True)


def as_python(function: F) -> F:
    """Return the function that a helper was made of, for who calls it from Python."""
    return getattr(function, "py_func", function)


if JIT_DISABLED:
    _lock = threading.Lock()

    def atomic_load(array: Any, index: int) -> int:
        """Read one int64 of a shared array."""
        return int(array[index])

    def atomic_store(array: Any, index: int, value: int) -> None:
        """Write one int64 of a shared array."""
        array[index] = value

    def atomic_add(array: Any, index: int, value: int) -> int:
        """Add to one int64 of a shared array; return what it was before."""
        with _lock:
            before = int(array[index])
            array[index] = before + value
        return before

    def entry_or(array: Any, index: int, wanted: bool, otherwise: int) -> int:
        """Read an entry if it is wanted."""
        return int(array[index]) if wanted else otherwise

    def count_bits(word: int) -> int:
        """Count the bits of a uint64 that are set."""
        return int(word).bit_count()

    def prefetch(array: Any, index: int) -> None:
        """Do nothing: Python cannot ask for a cache line."""

    def pause() -> None:
        """Do nothing: Python cannot tell the core that it spins."""

    def yield_core() -> None:
        """Let another thread run."""
        time.sleep(0)

    def clock_ns() -> int:
        """Nanoseconds of the clock of `time.perf_counter`."""
        return time.perf_counter_ns()

else:

    def _address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])

    @intrinsic
    def atomic_load(typing_context: Any, array: Any, index: Any) -> Any:
        """Read one int64 of a shared array, anew each time: a plain load in a loop may be hoisted out of it."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load_atomic(_address(context, builder, signature, args), "acquire", 8)

        return types.int64(array, types.intp), codegen

    @intrinsic
    def atomic_store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        """Write one int64 of a shared array; who reads it atomically sees all that was written before."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store_atomic(args[2], _address(context, builder, signature, args), "release", 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.int64), codegen

    @intrinsic
    def atomic_add(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        """Add to one int64 of a shared array; return what it was before."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.atomic_rmw("add", _address(context, builder, signature, args), args[2], "acq_rel")

        return types.int64(array, types.intp, types.int64), codegen

    @intrinsic
    def entry_or(typing_context: Any, array: Any, index: Any, wanted: Any, otherwise: Any) -> Any:
        """Read an entry of an array of integers if it is wanted; no reference is counted, whatever the branches around it."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            before = builder.block
            with builder.if_then(args[2]):
                found = builder.load(_address(context, builder, signature, args))
                found = builder.zext(found, _INT64) if found.type != _INT64 else found
                inside = builder.block
            result = builder.phi(_INT64)
            result.add_incoming(args[3], before)
            result.add_incoming(found, inside)
            return result

        return types.int64(array, types.intp, types.boolean, types.int64), codegen

    @intrinsic
    def count_bits(typing_context: Any, word: Any) -> Any:
        """Count the bits of a uint64 that are set."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.ctpop(args[0])

        return types.int64(types.uint64), codegen

    @intrinsic
    def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
        """Ask for the cache line of one element, which may lie outside the array."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            prefetch_line(builder, _address(context, builder, signature, args), INTO_L1)
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    @intrinsic
    def pause(typing_context: Any) -> Any:
        """Tell the core that this is a spinning loop (x86; elsewhere nothing)."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if platform.machine() == "x86_64":
                _call(builder, "llvm.x86.sse2.pause", ir.VoidType())
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def yield_core(typing_context: Any) -> Any:
        """Let another thread of the operating system run."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _call(builder, "sched_yield", _INT32)
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def clock_ns(typing_context: Any) -> Any:
        """Nanoseconds of the clock of `time.perf_counter` (POSIX clock_gettime, CLOCK_MONOTONIC)."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            timespec = cgutils.alloca_once(builder, ir.ArrayType(_INT64, 2))
            _call(builder, "clock_gettime", _INT32, _INT32(_CLOCK_MONOTONIC), builder.bitcast(timespec, _BYTE.as_pointer()))
            seconds, nanoseconds = (builder.load(cgutils.gep_inbounds(builder, timespec, 0, i)) for i in range(2))
            return builder.add(builder.mul(seconds, _INT64(10**9)), nanoseconds)

        return types.int64(), codegen
