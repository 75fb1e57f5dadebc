"""Lets compiled kernels read and write float32 by address: memory that another thread was handed in a call."""

from __future__ import annotations

import ctypes
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from backends.common.jit import JIT_DISABLED

if JIT_DISABLED:

    def read_float(address: int) -> Any:
        """Read one float32."""
        import numpy as np

        return np.float32(ctypes.c_float.from_address(int(address)).value)

    def write_float(address: int, value: Any) -> None:
        """Write one float32."""
        ctypes.c_float.from_address(int(address)).value = float(value)

else:

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
