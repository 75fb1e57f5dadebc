"""Computes output columns with the same inputs together, for a tile of instances: each activation is loaded once for all.

Written as LLVM vector instructions through a Numba intrinsic, as the tiles of `simd`. Every column has sums of its own;
multiply and add are separate instructions, and the terms are added in ascending input order. A column's weight is read from
memory where it is used, by the multiplication itself if the processor can do that (AVX-512: embedded broadcast), which takes
no time of the arithmetic units; nothing tells the compiler that weights are equal, so each product is computed.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from backends.common.jit import JIT_DISABLED
from backends.common.vectors import INTO_L2, finish, prefetch_line, splat, zeros
from backends.numba_cpu.dense.kernels.simd import SKEW_SHIFT, WIDE
from backends.numba_cpu.layout.kernels.groups import GROUP

GROUP_LANES = 16
"""Instances in a tile: a cache line of a row."""

N_VECTORS = GROUP_LANES // WIDE
"""Vectors in a tile."""

TILE_COLUMNS = GROUP if N_VECTORS == 1 else 4
"""Columns in a tile: all of a group where there are 32 registers, and else what 16 have room for."""

_X86 = platform.machine() in ("x86_64", "AMD64")
_LINE_BYTES = 64
_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def _vector_at(builder: Any, base: Any, number: int) -> Any:
    """Where vector `number` from `base` on is."""
    return builder.bitcast(builder.gep(base, [_INT64(number * WIDE)]), ir.VectorType(_FLOAT, WIDE).as_pointer())


def _row(builder: Any, neuron: Any, stride: Any) -> Any:
    """Where a neuron's row starts in a block."""
    neuron = builder.zext(neuron, _INT64)
    return builder.mul(builder.add(neuron, builder.lshr(neuron, _INT64(SKEW_SHIFT))), stride)


def _sums(
    builder: Any, x: Any, stride: Any, ids: Any, ids_ahead: Any, count: Any, weights: Any, step: Any
) -> list[Any]:  # fmt: skip
    """Emit the loop over the connections; return the sums of each column in turn."""
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("terms.head", "terms.body", "terms.after"))
    builder.branch(head)
    builder.position_at_end(head)
    zero = zeros(WIDE)
    k, held = builder.phi(_INT64), [builder.phi(zero.type) for _ in range(TILE_COLUMNS * N_VECTORS)]
    builder.cbranch(builder.icmp_signed("<", k, count), body, after)
    builder.position_at_end(body)
    # The next group's activations and weights, asked for before this one's are loaded: LLVM folds no load into an instruction
    # behind a prefetch.
    prefetch_line(builder, builder.gep(x, [_row(builder, builder.load(builder.gep(ids_ahead, [k])), stride)]), INTO_L2)
    of_connection = builder.gep(weights, [builder.mul(k, step)])
    prefetch_line(builder, builder.gep(of_connection, [builder.mul(count, step)]), INTO_L2)
    base = builder.gep(x, [_row(builder, builder.load(builder.gep(ids, [k])), stride)])
    found = [builder.load(_vector_at(builder, base, v), align=4) for v in range(N_VECTORS)]
    added = []
    for column in range(TILE_COLUMNS):
        weight = splat(builder, builder.load(builder.gep(of_connection, [_INT64(column)])), WIDE)
        for v in range(N_VECTORS):
            added.append(builder.fadd(held[column * N_VECTORS + v], builder.fmul(found[v], weight)))
    following = builder.add(k, _INT64(1))
    for phi, first, then in zip([k, *held], [_INT64(0), *[zero] * len(held)], [following, *added], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, body)
    builder.branch(head)
    builder.position_at_end(after)
    return held


def _short_end(builder: Any, z: Any, bias: Any, low: Any, high: Any) -> Any:
    """Add the bias and clamp, where that needs no look at the sum (see `layout.neurons.ends_short`).

    The upper limit is taken by integers, which other units compare than those that add: floats with the sign bit clear are in
    the order of their bits, and all others below.
    """
    integers = ir.VectorType(_INT32, WIDE)
    z, most = (builder.bitcast(value, integers) for value in (builder.fadd(z, bias), high))
    z = builder.bitcast(builder.select(builder.icmp_signed("<", z, most), z, most), high.type)
    return builder.select(builder.fcmp_ordered(">", low, z), low, z)


def _each_case(builder: Any, conditions: list[Any], act: Callable[..., None]) -> None:
    """Emit ``act(*cases)`` for each combination of conditions, of which one is run."""
    if not conditions:
        act()
        return
    with builder.if_else(conditions[0]) as (then, otherwise):
        with then:
            _each_case(builder, conditions[1:], functools.partial(act, True))
        with otherwise:
            _each_case(builder, conditions[1:], functools.partial(act, False))


def _compiled_columns() -> Callable[..., None]:
    @intrinsic
    def columns_of_block(
        typing_context: Any, x: Any, stride: Any, lane: Any, ids: Any, start: Any, count: Any, ahead: Any, weights: Any,
        weights_from: Any, step: Any, y: Any, order: Any, position: Any, biases: Any, biases_at: Any, bias_always: Any,
        low: Any, high: Any, short_end: Any, past_caches: Any,
    ) -> Any:  # fmt: skip
        f32, i64, yes = types.float32, types.int64, types.boolean
        signature = types.void(
            x, i64, i64, ids, i64, i64, i64, weights, i64, i64, y, order, i64, biases, i64, yes, f32, f32, yes, yes
        )

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def at(number: int, *steps: Any) -> Any:
                data = context.make_array(signature.args[number])(context, builder, args[number]).data
                return functools.reduce(lambda address, step: builder.gep(address, [step]), steps, data)

            stride, lane = args[1], args[2]
            sums = _sums(builder, at(0, lane), stride, at(3, args[4]), at(3, args[6]), args[5], at(7, args[8]), args[9])
            low, high = (splat(builder, limit, WIDE) for limit in args[16:18])
            rows, ends = [], []
            for column in range(TILE_COLUMNS):
                j = builder.load(at(11, args[12], _INT64(column)))
                rows.append(at(10, lane, _row(builder, j, stride)))
                ends.append(builder.load(at(13, args[14], builder.zext(j, _INT64))))

            def store(past: bool, short: bool) -> None:
                for column, (row, bias) in enumerate(zip(rows, ends, strict=True)):
                    at_zero = splat(builder, builder.select(args[15], bias, _FLOAT(0)), WIDE)
                    bias = splat(builder, bias, WIDE)
                    for v in range(N_VECTORS):
                        z = sums[column * N_VECTORS + v]
                        z = _short_end(builder, z, bias, low, high) if short else finish(builder, z, bias, at_zero, low, high)
                        stored = builder.store(z, _vector_at(builder, row, v), align=4 * WIDE if past else 4)
                        if past:
                            stored.set_metadata("nontemporal", builder.module.add_metadata([_INT32(1)]))

            address = builder.ptrtoint(at(10), _INT64)
            aligned = builder.icmp_unsigned("==", builder.and_(address, _INT64(_LINE_BYTES - 1)), _INT64(0))
            past_caches, short_end = builder.and_(args[19], aligned), builder.and_(args[18], ir.Constant(ir.IntType(1), _X86))
            _each_case(builder, [past_caches, short_end], store)
            return context.get_dummy_value()

        return signature, codegen

    return columns_of_block


def _python_columns(
    x: Any, stride: int, lane: int, ids: Any, start: int, count: int, ahead: int, weights: Any, weights_from: int, step: int,
    y: Any, order: Any, position: int, biases: Any, biases_at: int, bias_always: bool, low: Any, high: Any, short_end: bool,
    past_caches: bool,
) -> None:  # fmt: skip
    """Compute outputs for `GROUP_LANES` instances: what `columns_of_block` does, in NumPy for runs without the JIT.

    For each of `TILE_COLUMNS` columns c, j being ``order[position + c]`` and i from `lane` on: y[row of j, i] = clamp(bias +
    sum of x[row of ids[start + k], i] * weights[weights_from + k * step + c] over 0 <= k < count). Clamp and bias are those of
    `backends.common.kernels.activation`; where `short_end` says so, a shorter way to the same bits. The inputs
    ``ids[ahead + k]`` are asked for meanwhile. With `past_caches`, rows start at cache lines, which are not read first.

    x, y : float32 (block_slots * stride,)           rows `stride` apart; a neuron's is neuron + (neuron >> SKEW_SHIFT)
    ids : uint16 or uint32 (connections,)            input neurons
    weights : float32 (connections * GROUP,) or (1, connections * GROUP); or (GROUP,) with step 0
    order : uint16 or uint32 (outputs,), biases : float32 (outputs,)    a layer's biases from `biases_at` on
    low, high : float32
    """
    weights = weights.reshape(-1)
    for column in range(TILE_COLUMNS):
        j, z = int(order[position + column]), np.zeros(GROUP_LANES, np.float32)
        for k in range(count):
            i = int(ids[start + k])
            base = (i + (i >> SKEW_SHIFT)) * stride + lane
            z = z + x[base : base + GROUP_LANES] * weights[weights_from + k * step + column]
        bias = biases[biases_at + j]
        z = np.where(z != 0, z + bias, bias if bias_always else np.float32(0))
        z = np.where(z < low, low, z)
        base = (j + (j >> SKEW_SHIFT)) * stride + lane
        y[base : base + GROUP_LANES] = np.where(z > high, high, z)


def _compiled_fence() -> Any:
    @intrinsic
    def finish_stores(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(), codegen

    return finish_stores


def _python_fence() -> None:
    """Let no later write of this thread be seen before what it has written past the caches."""


columns_of_block = _python_columns if JIT_DISABLED else _compiled_columns()
finish_stores = _python_fence if JIT_DISABLED else _compiled_fence()
