"""Writes LLVM code that several kernels share: vectors of float32, the end of a sum, small ids that are loaded together."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

_FLOAT, _BYTE, _INT32, _INT64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)

INTO_L1, INTO_L2 = 3, 2
"""How near a line is wanted that is asked for ahead."""


def zeros(lanes: int) -> Any:
    """Return a constant vector of zeros."""
    return ir.Constant(ir.VectorType(_FLOAT, lanes), [0.0] * lanes)


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """Emit a vector with `value` in every lane."""
    vector = ir.VectorType(_FLOAT, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes)
    )


def prefetch_line(builder: Any, address: Any, into: int) -> None:
    """Ask for the cache line of an address, which may lie outside all memory that the program has."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT32, _INT32, _INT32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(address, _BYTE.as_pointer()), _INT32(0), _INT32(into), _INT32(1)])


def finish(builder: Any, z: Any, bias: Any, bias_at_zero: Any, low: Any, high: Any) -> Any:
    """Add the bias and clamp: `backends.common.kernels.activation.activate`, for a vector of sums."""
    z = builder.select(builder.fcmp_unordered("!=", z, zeros(z.type.count)), builder.fadd(z, bias), bias_at_zero)
    z = builder.select(builder.fcmp_ordered("<", z, low), low, z)
    return builder.select(builder.fcmp_ordered(">", z, high), high, z)


def loaded_ids(builder: Any, address: Any, n: int, bits: int) -> list[Any]:
    """Emit the loads of `n` unsigned ids of 16 or 32 bits: words of 64 bits, out of which the ids are cut."""
    a_word = 64 // bits
    words = builder.bitcast(address, _INT64.as_pointer())
    loaded = [builder.load(builder.gep(words, [_INT64(number)]), align=2) for number in range(-(-n // a_word))]
    shifts = [(loaded[number // a_word], bits * (number % a_word)) for number in range(n)]
    return [builder.and_(builder.lshr(word, _INT64(shift)), _INT64(2**bits - 1)) for word, shift in shifts]
