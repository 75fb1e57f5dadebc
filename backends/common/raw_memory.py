"""Lets compiled kernels read and write memory by its address: what another thread was handed, or what a table names."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from backends.common.jit import JIT_DISABLED

if JIT_DISABLED:

    def pointer(address: int) -> Any:
        """Return an address as a pointer."""
        return ctypes.c_void_p(int(address))

    def read_float(address: int) -> Any:
        """Read one float32."""
        return np.float32(ctypes.c_float.from_address(int(address)).value)

    def write_float(address: int, value: Any) -> None:
        """Write one float32."""
        ctypes.c_float.from_address(int(address)).value = float(value)

else:

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        """Return an address as a pointer."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

        return types.voidptr(types.int64), codegen

    def _pointer(builder: Any, address: Any) -> Any:
        return builder.inttoptr(address, ir.FloatType().as_pointer())

    @intrinsic
    def read_float(typing_context: Any, address: Any) -> Any:
        """Read one float32."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_pointer(builder, args[0]), align=1)

        return types.float32(types.int64), codegen

    @intrinsic
    def write_float(typing_context: Any, address: Any, value: Any) -> Any:
        """Write one float32."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[1], _pointer(builder, args[0]), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.float32), codegen
