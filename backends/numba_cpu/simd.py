"""One output column of a layer over a tile of instances, with the accumulators in vector registers.

Written as LLVM vector instructions through a Numba intrinsic, because plain loops store and reload the accumulators for
every few
connections. Multiply and add are separate instructions (never fused) and the terms are added in ascending input order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from backends.numba_cpu.jit import CPU_FEATURES, JIT_DISABLED

LANES = 8
"""Blocks are padded to a multiple of so many floats: a vector of 256 bits."""

WIDE = 2 * LANES if "+avx512f" in CPU_FEATURES else LANES
"""Floats in a vector of this processor, for tiles that are wide enough."""

WIDEST_TILE = 8 * WIDE
"""Instances whose accumulators fit into the registers: 64 or 128."""

SKEW_SHIFT = 6
"""Blocks leave one row free after every 64: rows a power of two apart would otherwise fall into the same few cache sets."""

_FLOAT = ir.FloatType()
_INT64 = ir.IntType(64)
_INT32 = ir.IntType(32)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    """A vector with `value` in every lane."""
    vector = ir.VectorType(_FLOAT, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes)
    )


def _lanes(builder: Any, base: Any, number: int, lanes: int) -> Any:
    """Address of vector `number` from `base` on."""
    vector = ir.VectorType(_FLOAT, lanes)
    return builder.bitcast(builder.gep(base, [ir.Constant(_INT64, lanes * number)]), vector.as_pointer())


def _accumulate(
    builder: Any, n_vectors: int, lanes: int, x: Any, stride: Any, first: Any, inputs: Any, weights: Any, step: Any, count: Any
) -> Any:
    """Emit the loop over the connections ``0 <= k < count``; return the accumulators."""
    zero = ir.Constant(ir.VectorType(_FLOAT, lanes), [0.0] * lanes)
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("column.head", "column.body", "column.after"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(_INT64)
    k.add_incoming(ir.Constant(_INT64, 0), before)
    sums = [builder.phi(ir.VectorType(_FLOAT, lanes)) for _ in range(n_vectors)]
    for total in sums:
        total.add_incoming(zero, before)
    builder.cbranch(builder.icmp_signed("<", k, count), body, after)
    builder.position_at_end(body)
    row = builder.zext(builder.load(builder.gep(inputs, [k])), _INT64)
    row = builder.add(row, builder.lshr(row, ir.Constant(_INT64, SKEW_SHIFT)))
    weight = _splat(builder, builder.load(builder.gep(weights, [builder.mul(k, step)])), lanes)
    base = builder.gep(x, [builder.add(builder.mul(row, stride), first)])
    for number, total in enumerate(sums):
        term = builder.fmul(builder.load(_lanes(builder, base, number, lanes), align=4), weight)
        total.add_incoming(builder.fadd(total, term), body)
    k.add_incoming(builder.add(k, ir.Constant(_INT64, 1)), body)
    builder.branch(head)
    builder.position_at_end(after)
    return sums


def _finish(builder: Any, lanes: int, z: Any, bias: Any, bias_at_zero: Any, low: Any, high: Any) -> Any:
    """Add the bias and clamp."""
    zero = ir.Constant(ir.VectorType(_FLOAT, lanes), [0.0] * lanes)
    z = builder.select(builder.fcmp_unordered("!=", z, zero), builder.fadd(z, bias), bias_at_zero)
    z = builder.select(builder.fcmp_ordered("<", z, low), low, z)
    return builder.select(builder.fcmp_ordered(">", z, high), high, z)


def _compiled_tile(width: int, lanes: int) -> Callable[..., None]:
    n_vectors = width // lanes

    @intrinsic
    def tile(
        typing_context: Any, x: Any, stride: Any, first: Any, inputs: Any, start: Any, count: Any,
        weights: Any, weights_from: Any, step: Any, y: Any, slot: Any, bias: Any, bias_at_zero: Any, low: Any, high: Any,
    ) -> Any:  # fmt: skip
        f32, i64 = types.float32, types.int64
        signature = types.void(x, i64, i64, inputs, i64, i64, weights, i64, i64, y, i64, f32, f32, f32, f32)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def data(number: int) -> Any:
                return context.make_array(signature.args[number])(context, builder, args[number]).data

            stride, first = args[1], args[2]
            inputs, weights = builder.gep(data(3), [args[4]]), builder.gep(data(6), [args[7]])
            sums = _accumulate(builder, n_vectors, lanes, data(0), stride, first, inputs, weights, args[8], args[5])
            scalars = [_splat(builder, args[number], lanes) for number in range(11, 15)]
            target = builder.gep(data(9), [builder.add(builder.mul(args[10], stride), first)])
            for number, total in enumerate(sums):
                builder.store(_finish(builder, lanes, total, *scalars), _lanes(builder, target, number, lanes), align=4)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _python_tile(width: int, lanes: int) -> Callable[..., None]:
    """The same tile in NumPy, for runs with the JIT disabled."""

    def tile(
        x: Any, stride: int, first: int, inputs: Any, start: int, count: int,
        weights: Any, weights_from: int, step: int, y: Any, slot: int, bias: Any, bias_at_zero: Any, low: Any, high: Any,
    ) -> None:  # fmt: skip
        z = np.zeros(width, np.float32)
        for k in range(count):
            row = int(inputs[start + k])
            base = (row + (row >> SKEW_SHIFT)) * stride + first
            z = z + x[base : base + width] * weights[weights_from + k * step]
        z = np.where(z != 0, z + bias, bias_at_zero)
        z = np.where(z < low, low, z)
        base = int(slot) * stride + first
        y[base : base + width] = np.where(z > high, high, z)

    return tile


def _compiled_pick() -> Callable[..., None]:
    vector, lanes = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT32, LANES)

    def picked(builder: Any, found: Any, order: Any) -> Any:
        """The lanes of a vector in another order."""
        if "+avx2" in CPU_FEATURES:
            kind = ir.FunctionType(vector, [vector, lanes])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.permps")
            return builder.call(function, [found, order])
        result = ir.Constant(vector, ir.Undefined)
        for lane in range(LANES):
            at = builder.extract_element(order, ir.Constant(_INT32, lane))
            one = builder.extract_element(found, builder.and_(at, ir.Constant(_INT32, LANES - 1)))
            result = builder.insert_element(result, one, ir.Constant(_INT32, lane))
        return result

    @intrinsic
    def pick8(
        typing_context: Any, x: Any, x_at: Any, order: Any, order_at: Any, y: Any, y_at: Any
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def eight(number: int, kind: Any) -> Any:
                data = context.make_array(signature.args[number])(context, builder, args[number]).data
                return builder.bitcast(builder.gep(data, [args[number + 1]]), kind.as_pointer())

            found, wanted = (builder.load(eight(number, kind), align=4) for number, kind in ((0, vector), (2, lanes)))
            builder.store(picked(builder, found, wanted), eight(4, vector), align=4)
            return context.get_dummy_value()

        return types.void(x, types.int64, order, types.int64, y, types.int64), codegen

    return pick8


def _python_pick(x: Any, x_at: int, order: Any, order_at: int, y: Any, y_at: int) -> None:
    y[y_at : y_at + LANES] = x[x_at + (order[order_at : order_at + LANES] & (LANES - 1))]


_tile = _python_tile if JIT_DISABLED else _compiled_tile

# tileN(x, stride, first, inputs, start, count, weights, weights_from, step, y, slot, bias, bias_at_zero, low, high):
# y[slot, first + i] = clamp(bias + sum of x[row of inputs[start + k], first + i] * weights[weights_from + k * step] over
# 0 <= k < count), for 0 <= i < N. x and y are flat float32 blocks of rows `stride` apart; a neuron's row is
# neuron + (neuron >> SKEW_SHIFT); bias_at_zero is the result where the sum is zero.
tile128 = _tile(128, WIDE)
tile64 = _tile(64, WIDE)
tile32 = _tile(32, WIDE)
tile16 = _tile(16, WIDE)
tile8 = _tile(8, LANES)

pick8 = _python_pick if JIT_DISABLED else _compiled_pick()
# pick8(x, x_at, order, order_at, y, y_at): y[y_at + i] = x[x_at + order[order_at + i] % 8] for 0 <= i < 8; order is int32.
