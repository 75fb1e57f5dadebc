"""Keeps weights in 16 bits: which array stores which format, and the LLVM code that makes float32 of them again.

bfloat16 is the upper half of a float32; float16 is IEEE 754's binary16. Every number of both is a float32, so that widening is
exact. Numba has no type for either on processors: the type of the array, uint16 or int16, tells which one its bits are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from backends.common.jit import CPU_FEATURES, JIT_DISABLED

STORED: dict[str, type[np.generic]] = {"float32": np.float32, "bfloat16": np.uint16, "float16": np.int16}
"""The type of the array that stores each format."""

Weights = NDArray[np.float32] | NDArray[np.uint16] | NDArray[np.int16]

CONVERTS = "+f16c" in CPU_FEATURES
"""Whether the processor has an instruction that widens float16; others shift its bits, and scale."""

_HIDES = "+avx512vl" in CPU_FEATURES
_FLOAT16_SCALE = 2.0**112  # float32's exponents begin so much lower than float16's
_WIDTH, _SIGN, _SHIFT = 16, 0x8000, 13


def narrowed(values: NDArray[np.float32], weights: str) -> Weights:
    """Return weights, which are rounded to a format already, as an array that stores it; a float32 array is not copied."""
    flat = np.asarray(values, np.float32)
    if weights == "float32":
        return flat
    if weights == "float16":
        return flat.astype(np.float16).view(np.int16)
    return (np.ascontiguousarray(flat).view(np.uint32) >> np.uint32(_WIDTH)).astype(np.uint16)


def as_float32(weights: Weights) -> NDArray[np.float32]:
    """Return weights as float32, whatever stores them."""
    if weights.dtype == np.int16:
        return weights.view(np.float16).astype(np.float32)
    if weights.dtype == np.uint16:
        return (weights.astype(np.uint32) << np.uint32(_WIDTH)).view(np.float32)
    return np.asarray(weights, np.float32)


def format_of(weights: Weights) -> str:
    """Return the name of the format that an array stores."""
    return next(name for name, stored in STORED.items() if weights.dtype == stored)


def _like(kind: Any, element: Any) -> Any:
    """The type of as many elements as another type has."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _constant(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def emit_float32(builder: Any, found: Any, stored: Any, *, converts: bool = CONVERTS) -> Any:
    """Emit what makes float32 of a weight, or of a vector of them, as it was loaded from an array of Numba's type `stored`."""
    if stored == types.float32:
        return found
    bits, floats = _like(found.type, ir.IntType(32)), _like(found.type, ir.FloatType())
    if stored == types.uint16:
        return builder.bitcast(builder.shl(builder.zext(found, bits), _constant(bits, _WIDTH)), floats)
    if converts:
        return builder.fpext(builder.bitcast(found, _like(found.type, ir.HalfType())), floats)
    wide = builder.zext(found, bits)
    size = builder.shl(builder.and_(wide, _constant(bits, _SIGN - 1)), _constant(bits, _SHIFT))
    size = builder.fmul(builder.bitcast(size, floats), _constant(floats, _FLOAT16_SCALE))
    sign = builder.shl(builder.and_(wide, _constant(bits, _SIGN)), _constant(bits, _WIDTH))
    return builder.bitcast(builder.or_(builder.bitcast(size, bits), sign), floats)


def load_weights(builder: Any, address: Any, n: int, stored: Any) -> Any:
    """Emit the load of the next `n` weights of an array whose entries have Numba's type `stored`, as a vector of float32."""
    kind = ir.VectorType(address.type.pointee, n)
    found = builder.load(builder.bitcast(address, kind.as_pointer()), align=stored.bitwidth // 8)
    wide = emit_float32(builder, found, stored)
    return wide if stored == types.float32 or not _HIDES else _hidden(builder, wide)


def _hidden(builder: Any, vector: Any) -> Any:
    """Emit nothing that a processor sees, but LLVM no longer knows where a vector comes from.

    Else it would join the shift with the shuffles that spread the weights: to such of 16 bits, which take three times as long.
    """
    same = ir.FunctionType(vector.type, [vector.type])
    return builder.call(ir.InlineAsm(same, "", "=v,0", side_effect=False), [vector])


def through_memory(builder: Any, vector: Any) -> list[Any]:
    """Emit a store of a vector and the loads of its elements, which LLVM does not see to be the same.

    A multiplication loads and spreads a number that is in memory by itself. One that is in a register takes a shuffle, on the
    units that multiply and add.
    """
    place = cgutils.alloca_once(builder, vector.type)
    builder.store(vector, place, align=4)
    first = builder.bitcast(place, ir.FloatType().as_pointer())
    changes = ir.FunctionType(ir.VoidType(), [first.type])
    builder.call(ir.InlineAsm(changes, "", "r,~{memory}", side_effect=True), [first])
    return [builder.load(builder.gep(first, [ir.IntType(64)(n)]), align=4) for n in range(vector.type.count)]


def _compiled() -> Any:
    @intrinsic
    def widened(typing_context: Any, weight: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit_float32(builder, args[0], signature.args[0])

        return types.float32(weight), codegen

    return widened


def _python(weight: Any) -> Any:
    """Return a weight as float32."""
    return as_float32(np.asarray([weight]))[0]


widened = _python if JIT_DISABLED else _compiled()
