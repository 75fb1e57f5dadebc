"""Writes LLVM code for vectors of float32: constants, and the end of a sum."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

_FLOAT, _INT32 = ir.FloatType(), ir.IntType(32)


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


def finish(builder: Any, z: Any, bias: Any, bias_at_zero: Any, low: Any, high: Any) -> Any:
    """Add the bias and clamp: `backends.common.kernels.activation.activate`, for a vector of sums."""
    z = builder.select(builder.fcmp_unordered("!=", z, zeros(z.type.count)), builder.fadd(z, bias), bias_at_zero)
    z = builder.select(builder.fcmp_ordered("<", z, low), low, z)
    return builder.select(builder.fcmp_ordered(">", z, high), high, z)
