"""Lets a compiled kernel sleep until another thread wakes it, without the GIL (Linux's futex; elsewhere it yields the core)."""

from __future__ import annotations

import platform
import sys
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from backends.common.jit import JIT_DISABLED

SYSTEM_CALL = {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
"""The number of the futex call (Linux: arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h)."""

_WAIT, _WAKE = 128, 129
"""FUTEX_WAIT and FUTEX_WAKE of this process alone (FUTEX_PRIVATE_FLAG)."""

EVERYBODY = 2**31 - 1
NAP_S = 50e-6

if JIT_DISABLED:

    def sleep_while(array: Any, index: int, value: int) -> None:
        """Sleep until woken, unless an entry has another value already; may return for no reason."""
        if int(array[index]) == value:
            time.sleep(NAP_S)

    def wake_all(array: Any, index: int) -> None:
        """Wake all that sleep at an entry."""

else:

    def _futex(context: Any, builder: Any, signature: Any, args: Any, operation: int, value: Any) -> None:
        """Emit a futex call on the lower half of an int64 (of a little-endian machine)."""
        word = ir.IntType(64)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.ptrtoint(builder.gep(data, [args[1]]), word)
        if SYSTEM_CALL is None:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
            return
        kind = ir.FunctionType(word, [word], var_arg=True)
        function = cgutils.get_or_insert_function(builder.module, kind, "syscall")
        zero = word(0)
        builder.call(function, [word(SYSTEM_CALL), address, word(operation), value, zero, zero, zero])

    @intrinsic
    def sleep_while(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        """Sleep until woken, unless an entry has another value already; may return for no reason."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lower = builder.and_(args[2], ir.IntType(64)(0xFFFFFFFF))
            _futex(context, builder, signature, args, _WAIT, lower)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.int64), codegen

    @intrinsic
    def wake_all(typing_context: Any, array: Any, index: Any) -> Any:
        """Wake all that sleep at an entry."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _futex(context, builder, signature, args, _WAKE, ir.IntType(64)(EVERYBODY))
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen
