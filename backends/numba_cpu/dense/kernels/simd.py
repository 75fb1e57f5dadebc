"""Computes one output column of a layer for a tile of instances, with the accumulators in vector registers.

Written as LLVM vector instructions through a Numba intrinsic, because plain loops store and reload the accumulators for
every few
connections. Multiply and add are separate instructions (never fused) and the terms are added in ascending input order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from backends.common.jit import CPU_FEATURES, JIT_DISABLED, inline
from backends.common.vectors import finish, splat, zeros

LANES = 8
"""Blocks are padded to a multiple of so many floats: a vector of 256 bits."""

WIDE = 2 * LANES if "+avx512f" in CPU_FEATURES else LANES
"""Floats in a vector of this processor, for tiles that are wide enough."""

WIDEST_TILE = 8 * WIDE
"""Instances whose accumulators fit into the registers: 64 or 128."""

UNROLLED_VECTORS, UNROLLED = 2, 8
"""Tiles of so few vectors take so many connections at a time: what surrounds the additions takes longer than they do."""

SKEW_SHIFT = 6
"""Blocks leave one row free after every 64: rows a power of two apart would otherwise fall into the same few cache sets."""

_FLOAT = ir.FloatType()
_INT64 = ir.IntType(64)
_INT32 = ir.IntType(32)


@inline
def tile_width(stride: Any, widest: Any) -> Any:
    """Return how many instances of a row are best taken at a time: as few tiles as can be, all as wide if they can be.

    A narrow tile is slow: it has fewer sums than the processor could have additions under way.
    """
    n_tiles = max((stride + widest - 1) // widest, 1)
    return (stride // LANES + n_tiles - 1) // n_tiles * LANES


def _vectors(width: int) -> list[tuple[int, int]]:
    """First lane and number of lanes of each vector of a tile: of the widest, and of half of one at the end if need be."""
    whole = [(first, WIDE) for first in range(0, width - WIDE + 1, WIDE)]
    return whole if width % WIDE == 0 else [*whole, (width - LANES, LANES)]


def _address(builder: Any, base: Any, first: int, lanes: int) -> Any:
    """Where a vector is that starts `first` floats from `base`."""
    return builder.bitcast(builder.gep(base, [ir.Constant(_INT64, first)]), ir.VectorType(_FLOAT, lanes).as_pointer())


def _accumulate(
    builder: Any, width: int, x: Any, stride: Any, inputs: Any, offset: Any, weights: Any, step: Any, count: Any
) -> list[Any]:  # fmt: skip
    """Emit loops over the connections ``0 <= k < count``; return the accumulators."""

    def term(k: Any, sums: list[Any]) -> list[Any]:
        row = builder.add(builder.zext(builder.load(builder.gep(inputs, [k])), _INT64), offset)
        row = builder.add(row, builder.lshr(row, ir.Constant(_INT64, SKEW_SHIFT)))
        weight = builder.load(builder.gep(weights, [builder.mul(k, step)]))
        base, added = builder.gep(x, [builder.mul(row, stride)]), []
        for total, (first, lanes) in zip(sums, _vectors(width), strict=True):
            found = builder.load(_address(builder, base, first, lanes), align=4)
            added.append(builder.fadd(total, builder.fmul(found, splat(builder, weight, lanes))))
        return added

    k, sums = ir.Constant(_INT64, 0), [zeros(lanes) for _, lanes in _vectors(width)]
    for at_once in (UNROLLED, 1) if len(sums) <= UNROLLED_VECTORS else (1,):
        k, sums = _loop(builder, k, count, at_once, sums, term)
    return sums


def _loop(
    builder: Any, begin: Any, end: Any, at_once: int, sums: list[Any], term: Callable[[Any, list[Any]], list[Any]]
) -> tuple[Any, list[Any]]:
    """Emit a loop that adds `at_once` terms at a time, while there are so many; return where it ends, and the sums."""
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("terms.head", "terms.body", "terms.after"))
    builder.branch(head)
    builder.position_at_end(head)
    k, totals = builder.phi(_INT64), [builder.phi(one.type) for one in sums]
    following = builder.add(k, ir.Constant(_INT64, at_once))
    builder.cbranch(builder.icmp_signed("<=", following, end), body, after)
    builder.position_at_end(body)
    added = totals
    for number in range(at_once):
        added = term(builder.add(k, ir.Constant(_INT64, number)), added)
    for phi, first, then in zip([k, *totals], [begin, *sums], [following, *added], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, body)
    builder.branch(head)
    builder.position_at_end(after)
    return k, totals


def _tile(
    builder: Any, width: int, x: Any, stride: Any, inputs: Any, offset: Any, weights: Any, step: Any, count: Any, y: Any,
    *ends: Any,
) -> None:  # fmt: skip
    """Emit one column for the `width` instances that x and y point at."""
    sums = _accumulate(builder, width, x, stride, inputs, offset, weights, step, count)
    for total, (first, lanes) in zip(sums, _vectors(width), strict=True):
        scalars = (splat(builder, end, lanes) for end in ends)
        builder.store(finish(builder, total, *scalars), _address(builder, y, first, lanes), align=4)


def _each_tile(builder: Any, stride: Any, tile_width: Any, tile: Callable[[int, Any], None]) -> None:
    """Emit a loop over the tiles of a row, with a case for each width."""
    before = builder.block
    head, after = builder.append_basic_block("tiles.head"), builder.append_basic_block("tiles.after")
    builder.branch(head)
    builder.position_at_end(head)
    first = builder.phi(_INT64)
    first.add_incoming(ir.Constant(_INT64, 0), before)
    rest = builder.sub(stride, first)
    choice = builder.switch(builder.select(builder.icmp_signed("<", rest, tile_width), rest, tile_width), after)
    for width in range(LANES, WIDEST_TILE + 1, LANES):
        case = builder.append_basic_block(f"tile{width}")
        choice.add_case(ir.Constant(_INT64, width), case)
        builder.position_at_end(case)
        tile(width, first)
        first.add_incoming(builder.add(first, ir.Constant(_INT64, width)), builder.block)
        builder.branch(head)
    builder.position_at_end(after)


def _compiled_column() -> Callable[..., None]:
    @intrinsic
    def column_of_block(
        typing_context: Any, x: Any, stride: Any, tile_width: Any, inputs: Any, offset: Any, start: Any, count: Any,
        weights: Any, weights_from: Any, step: Any, y: Any, slot: Any, bias: Any, bias_at_zero: Any, low: Any, high: Any,
    ) -> Any:  # fmt: skip
        f32, i64 = types.float32, types.int64
        signature = types.void(x, i64, i64, inputs, i64, i64, i64, weights, i64, i64, y, i64, f32, f32, f32, f32)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def at(number: int, *steps: Any) -> Any:
                data = context.make_array(signature.args[number])(context, builder, args[number]).data
                return functools.reduce(lambda address, step: builder.gep(address, [step]), steps, data)

            stride, inputs, weights = args[1], at(3, args[5]), at(7, args[8])

            def tile(width: int, first: Any) -> None:
                x, y = at(0, first), at(10, builder.mul(args[11], stride), first)
                _tile(builder, width, x, stride, inputs, args[4], weights, args[9], args[6], y, *args[12:])

            _each_tile(builder, stride, args[2], tile)
            return context.get_dummy_value()

        return signature, codegen

    return column_of_block


def _python_column(
    x: Any, stride: int, tile_width: int, inputs: Any, offset: int, start: int, count: int,
    weights: Any, weights_from: int, step: int, y: Any, slot: int, bias: Any, bias_at_zero: Any, low: Any, high: Any,
) -> None:  # fmt: skip
    """Compute one output for all instances of a block: what `column_of_block` does, in NumPy for runs without the JIT.

    y[slot, i] = clamp(bias + sum of x[row of inputs[start + k] + offset, i] * weights[weights_from + k * step] over 0 <= k <
    count), for 0 <= i < stride; `bias_at_zero` takes the place of bias + sum where the sum is zero. `tile_width` instances are
    taken at a time. Clamp and bias are those of `backends.common.kernels.activation`, a vector at a time.

    x, y : float32 (block_slots * stride,)           rows `stride` apart; a neuron's is neuron + (neuron >> SKEW_SHIFT)
    inputs : uint16 or uint32 (connections,)         input neurons
    weights : float32 (connections,) or (1, connections); or (1,) with step 0
    bias, bias_at_zero, low, high : float32
    """
    z, weights = np.zeros(stride, np.float32), weights.reshape(-1)
    for k in range(count):
        row = int(inputs[start + k]) + offset
        base = (row + (row >> SKEW_SHIFT)) * stride
        z = z + x[base : base + stride] * weights[weights_from + k * step]
    z = np.where(z != 0, z + bias, bias_at_zero)
    z = np.where(z < low, low, z)
    base = int(slot) * stride
    y[base : base + stride] = np.where(z > high, high, z)


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
    """Pick lanes of a vector: y[y_at + i] = x[x_at + order[order_at + i] % 8] for 0 <= i < 8.

    x, y : float32 (floats of a block,), order : int32 (lanes,)
    """
    y[y_at : y_at + LANES] = x[x_at + (order[order_at : order_at + LANES] & (LANES - 1))]


column_of_block = _python_column if JIT_DISABLED else _compiled_column()
pick8 = _python_pick if JIT_DISABLED else _compiled_pick()
