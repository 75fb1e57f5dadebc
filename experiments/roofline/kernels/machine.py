"""Compiles the roofline's microkernels: arithmetic in registers, loads from sets of a given size, one layer repeated.

Written as LLVM vector instructions, like the tiles of the dense blocks, so that the compiler neither removes nor vectorises
them otherwise. Their results are stored, and can be checked. They live here and not with the backend because nothing but a
benchmark calls them; the cache of kernels is keyed by this package's sources too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from backends.common.jit import inline, kernel
from backends.numba_cpu.dense.kernels.layers import layer_on_block
from backends.numba_cpu.dense.kernels.moves import slot

N_CHAINS = 12
"""Independent sums held in registers: as many as hide the latency of a multiply and an add (two of each a cycle, three cycles)
and still fit, with the two operands, into 16 registers."""

N_LOADS = 8
"""Vectors loaded for each turn of the loop, each added to a sum of its own."""

_INT64, _INT32 = ir.IntType(64), ir.IntType(32)


def _array_data(context: Any, builder: Any, signature: Any, args: Any, number: int) -> Any:
    return context.make_array(signature.args[number])(context, builder, args[number]).data


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """A vector with `value` in every lane."""
    nothing, lanes = ir.Constant(vector, ir.Undefined), ir.VectorType(_INT32, vector.count)
    one = builder.insert_element(nothing, value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(lanes, [0] * vector.count))


def _vector_at(builder: Any, data: Any, offset: Any, number: int, vector: Any) -> Any:
    """Address of vector `number` from element `offset` on."""
    element = builder.add(offset, ir.Constant(_INT64, number * vector.count))
    return builder.bitcast(builder.gep(data, [element]), vector.as_pointer())


def _loop(builder: Any, n_turns: Any, data: Any, n_sums: int, vector: Any, turn: Callable[[Any, list[Any]], list[Any]]) -> None:
    """Emit `n_turns` turns over sums that are held in registers; they are loaded from `data` before and stored there after."""
    start = ir.Constant(_INT64, 0)
    places = [_vector_at(builder, data, start, number, vector) for number in range(n_sums)]
    held = [builder.load(place, align=4) for place in places]
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("turns.head", "turns.body", "turns.after"))
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(_INT64)
    i.add_incoming(start, before)
    sums = [builder.phi(vector) for _ in places]
    for total, first in zip(sums, held, strict=True):
        total.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", i, n_turns), body, after)
    builder.position_at_end(body)
    for total, new in zip(sums, turn(i, sums), strict=True):
        total.add_incoming(new, body)
    i.add_incoming(builder.add(i, ir.Constant(_INT64, 1)), body)
    builder.branch(head)
    builder.position_at_end(after)
    for place, total in zip(places, sums, strict=True):
        builder.store(total, place, align=4)


def _chains(lanes: int, *, fused: bool) -> Any:
    """``sums = sums * factor + term``, `n_turns` times, on ``N_CHAINS * lanes`` floats in registers."""
    vector = ir.VectorType(ir.FloatType(), lanes)

    @intrinsic
    def chains(typing_context: Any, sums: Any, factor: Any, term: Any, n_turns: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            by, plus = _splat(builder, args[1], vector), _splat(builder, args[2], vector)
            kind = ir.FunctionType(vector, [vector] * 3)

            def turn(i: Any, held: list[Any]) -> list[Any]:
                if not fused:
                    return [builder.fadd(builder.fmul(total, by), plus) for total in held]
                fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{lanes}f32")
                return [builder.call(fma, [total, by, plus]) for total in held]

            _loop(builder, args[3], _array_data(context, builder, signature, args, 0), N_CHAINS, vector, turn)
            return context.get_dummy_value()

        return types.void(sums, types.float32, types.float32, types.int64), codegen

    return chains


def _loads(lanes: int) -> Any:
    """Add vectors of `data` to sums, round and round: turn i starts at element ``(i * N_LOADS * lanes) & mask``.

    Integers, which more units of a core can add than it can load.
    """
    vector = ir.VectorType(_INT32, lanes)

    @intrinsic
    def loads(typing_context: Any, data: Any, mask: Any, n_turns: Any, sums: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, step = _array_data(context, builder, signature, args, 0), ir.Constant(_INT64, N_LOADS * lanes)

            def turn(i: Any, held: list[Any]) -> list[Any]:
                at = builder.and_(builder.mul(i, step), args[1])
                found = (builder.load(_vector_at(builder, source, at, number, vector), align=4) for number in range(N_LOADS))
                return [builder.add(total, one) for total, one in zip(held, found, strict=True)]

            _loop(builder, args[2], _array_data(context, builder, signature, args, 3), N_LOADS, vector, turn)
            return context.get_dummy_value()

        return types.void(data, types.int64, types.int64, sums), codegen

    return loads


_unfused8, _unfused16 = _chains(8, fused=False), _chains(16, fused=False)
_fused8, _fused16 = _chains(8, fused=True), _chains(16, fused=True)
_loads8, _loads16 = _loads(8), _loads(16)


@kernel
def _run_unfused8(sums: Any, factor: Any, term: Any, n_turns: Any) -> None:
    _unfused8(sums, factor, term, n_turns)


@kernel
def _run_unfused16(sums: Any, factor: Any, term: Any, n_turns: Any) -> None:
    _unfused16(sums, factor, term, n_turns)


@kernel
def _run_fused8(sums: Any, factor: Any, term: Any, n_turns: Any) -> None:
    _fused8(sums, factor, term, n_turns)


@kernel
def _run_fused16(sums: Any, factor: Any, term: Any, n_turns: Any) -> None:
    _fused16(sums, factor, term, n_turns)


@kernel
def _run_loads8(data: Any, mask: Any, n_turns: Any, sums: Any) -> None:
    _loads8(data, mask, n_turns, sums)


@kernel
def _run_loads16(data: Any, mask: Any, n_turns: Any, sums: Any) -> None:
    _loads16(data, mask, n_turns, sums)


LANES = (8, 16)
"""Floats in a vector: the widths that are tried."""

UNFUSED = {8: _run_unfused8, 16: _run_unfused16}
FUSED = {8: _run_fused8, 16: _run_fused16}
# (sums, factor, term, n_turns): sums[i] = sums[i] * factor + term, n_turns times; sums: float32 (N_CHAINS * lanes,).

LOADS = {8: _run_loads8, 16: _run_loads16}
# (data, mask, n_turns, sums): sums[k] += data[(i * n + k) & mask] for i < n_turns and k < n = N_LOADS * lanes; int32 all;
# data has mask + 1 elements, a power of two.


@kernel
def layer_in_turn(net: Any, conn: Any, layer: Any, blocks: Any, stride: Any, column: Any, n_times: Any) -> None:
    """Run a layer `n_times`, each time from the block that was written to the other one.

    net : Neurons, conn : Connections, column : Column    see `numba_cpu.layout.packing`, `dense.kernels.pools`
    blocks : float32 (2, n_slots * stride)
    """
    nothing = np.int64(0)
    for number in range(n_times):
        x, y = blocks[number % 2], blocks[1 - number % 2]
        layer_on_block(net, conn, layer, x, y, stride, nothing, net.widths[layer + 1], column, column.wide, is_dense=False)


@inline
def _touch(item: Any, n_bytes: Any, cache: Any, newer: Any, older: Any, sizes: Any) -> None:
    """Make an item the newest in ``cache = [bytes held, capacity, bytes brought in]``; the last item is the list's ends.

    cache : int64 (3,), sizes : int32 (n_items,)    bytes of the items that are held
    newer, older : int32 (n_items + 1,)             neighbours of each item in the list
    """
    end = newer.shape[0] - 1
    if sizes[item] > 0:
        newer[older[item]], older[newer[item]] = newer[item], older[item]
    else:
        sizes[item] = n_bytes
        cache[0] += n_bytes
        cache[2] += n_bytes
    newest = older[end]
    newer[item], older[item], newer[newest], older[end] = end, newest, item, item
    while cache[0] > cache[1]:
        oldest = newer[end]
        cache[0] -= sizes[oldest]
        sizes[oldest] = 0
        newer[end] = newer[oldest]
        older[newer[oldest]] = end


@kernel
def count_missed(
    net: Any, conn: Any, layer: Any, spans: Any, n_slots: Any, tile_bytes: Any, chunk: Any, chunk_bytes: Any, capacity: Any
) -> Any:
    """Count the bytes that `layer_in_turn` brings into an LRU cache of `capacity` bytes, in a run after one that fills it.

    The cache holds each row of a block, tile by tile, and the connections of each output. Written rows are brought in too.

    net : Neurons, conn : Connections
    spans : int64 (2, n_outputs)        where the ids at each position start, and how many there are
    tile_bytes : int64 (n_tiles,)       width of each tile of a row
    chunk : int64 (n_outputs,)          where each position's connections are, numbered without gaps
    chunk_bytes : int64 (n_outputs,)    of them, with their weights
    """
    n_tiles, order_at = tile_bytes.shape[0], net.order_at[layer]
    n_items = 2 * n_slots * n_tiles + chunk.max() + 1
    newer, older = np.empty(n_items + 1, np.int32), np.empty(n_items + 1, np.int32)
    sizes, cache = np.zeros(n_items, np.int32), np.zeros(3, np.int64)
    newer[n_items], older[n_items], cache[1] = n_items, n_items, capacity
    for number in range(2):
        x, y, cache[2] = number * n_slots, (1 - number) * n_slots, 0
        for position in range(net.widths[layer + 1]):
            start, degree = spans[0, position], spans[1, position]
            target = y + slot(np.int64(net.order[order_at + position]))
            for tile in range(n_tiles):
                _touch(2 * n_slots * n_tiles + chunk[position], chunk_bytes[position], cache, newer, older, sizes)
                for k in range(start, start + degree):
                    _touch((x + slot(np.int64(conn.ids[k]))) * n_tiles + tile, tile_bytes[tile], cache, newer, older, sizes)
                _touch(target * n_tiles + tile, tile_bytes[tile], cache, newer, older, sizes)
    return cache[2]
