"""Computes the outputs of one slice of 16 columns for 1 to 32 instances, with the accumulators in vector registers.

Instances lie side by side, in lanes; where there are fewer than a vector holds, the vector has several columns. Multiply and
add are separate instructions, and a column's terms are added in their order; padding adds zeros to sums that are never -0.
Where all columns of a slice have the same input, as in dense layers and in convolutions, the activation is loaded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from backends.common.jit import JIT_DISABLED
from backends.common.short_weights import load_weights, through_memory, widened
from backends.common.vectors import INTO_L2, finish, loaded_ids, prefetch_line, splat
from backends.numba_cpu.dense.kernels.simd import WIDE
from backends.numba_cpu.layout.kernels.slices import COLUMNS

MOST_LANES = 32
LANES = (1, 2, 4, 8, 16, 32)
"""Numbers of instances that there is a kernel for."""

_ACCUMULATORS = WIDE if WIDE == 16 else 8
"""Vectors of sums that are kept at once: half of the registers, since loads take others."""

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


class _SliceCode:
    """Writes the LLVM code of a slice for a number of lanes.

    A column takes `vectors` vectors, or a vector has `together` columns; `at_once` columns are under way at a time. With
    `far`, the last of them ask for what follows the slice, which is the next slice, while they are computed. Ids have
    `id_bits`, weights the type `stored`, one of Numba's.
    """

    def __init__(self, lanes: int, id_bits: int, stored: Any, *, far: bool) -> None:
        self.lanes, self.id_bits, self.stored, self.far = lanes, id_bits, stored, far
        self.vectors, self.together = max(lanes // WIDE, 1), max(WIDE // lanes, 1)
        self.at_once = min(COLUMNS, _ACCUMULATORS * WIDE // lanes)
        self.row = ir.VectorType(_FLOAT, min(lanes, WIDE))
        self.whole = ir.VectorType(_FLOAT, WIDE)

    def emit(
        self, builder: Any, x: Any, y: Any, ids: Any, weights: Any, same: Any, count: Any, ends: tuple[Any, ...]
    ) -> None:  # fmt: skip
        """Emit all columns of the slice, `at_once` at a time; in the first `same` terms they have the same inputs."""
        for first in range(0, COLUMNS, self.at_once):
            zero = ir.Constant(self.whole, [0.0] * WIDE)
            sums = [zero] * (self.at_once // self.together * self.vectors)
            ahead = builder.mul(count, _INT64(COLUMNS)) if self.far and first + self.at_once == COLUMNS else None
            sums = self._sums(builder, first, ahead, x, ids, weights, _INT64(0), same, sums, shared=True)
            sums = self._sums(builder, first, ahead, x, ids, weights, same, count, sums, shared=False)
            self._store(builder, first, y, sums, ends)

    def _sums(
        self, builder: Any, first: int, ahead: Any, x: Any, ids: Any, weights: Any, begin: Any, end: Any, sums: list[Any],
        *, shared: bool,
    ) -> list[Any]:  # fmt: skip
        """Emit the loop over some terms of some columns; return their sums, a vector or more for each group of columns."""
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("slice.head", "slice.body", "slice.after"))
        builder.branch(head)
        builder.position_at_end(head)
        k, totals = builder.phi(_INT64), [builder.phi(self.whole) for _ in sums]
        builder.cbranch(builder.icmp_signed("<", k, end), body, after)
        builder.position_at_end(body)
        at = builder.add(builder.mul(k, _INT64(COLUMNS)), _INT64(first))
        added = self._terms(builder, at, ahead, x, ids, weights, totals, shared=shared)
        following = [builder.add(k, _INT64(1)), *added]
        for phi, start, then in zip([k, *totals], [begin, *sums], following, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(then, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return totals

    def _terms(
        self, builder: Any, at: Any, ahead: Any, x: Any, ids: Any, weights: Any, sums: list[Any], *, shared: bool
    ) -> list[Any]:  # fmt: skip
        """Emit one term of each column: entries from `at` on. Activations that columns share are loaded once.

        Entries that are `ahead` of these are asked for, if that is given: before the activations are loaded, since LLVM folds
        no load into an instruction behind a prefetch.
        """
        address = builder.gep(ids, [at])
        for entries in (ids, weights) if ahead is not None else ():
            prefetch_line(builder, builder.gep(entries, [builder.add(at, ahead)]), INTO_L2)
        if shared:
            found = [builder.zext(builder.load(address), _INT64)] * self.together
        else:
            found = loaded_ids(builder, address, self.at_once, self.id_bits)
        weight = load_weights(builder, builder.gep(weights, [at]), self.at_once, self.stored)
        short = self.stored != types.float32 and self.together == 1
        weight = through_memory(builder, weight) if short else weight
        rows = [builder.gep(x, [builder.mul(neuron, _INT64(self.lanes))]) for neuron in found]
        once = [self._gathered(builder, rows, vector) for vector in range(self.vectors)] if shared else []
        added: list[Any] = []
        for group in range(self.at_once // self.together):
            columns = range(group * self.together, (group + 1) * self.together)
            factor = splat(builder, weight[columns[0]], WIDE) if short else self._spread(builder, weight, columns)
            for vector in range(self.vectors):
                values = once[vector] if shared else self._gathered(builder, [rows[column] for column in columns], vector)
                added.append(builder.fadd(sums[len(added)], builder.fmul(values, factor)))
        return added

    def _spread(self, builder: Any, values: Any, columns: range) -> Any:
        """Emit a vector that has the value of each column in all of its lanes."""
        each = [column for column in columns for _ in range(min(self.lanes, WIDE))]
        lanes = ir.Constant(ir.VectorType(_INT32, WIDE), each)
        return builder.shuffle_vector(values, ir.Constant(values.type, ir.Undefined), lanes)

    def _gathered(self, builder: Any, rows: list[Any], vector: int) -> Any:
        """Emit the loads of rows of activations, one after the other in a vector."""
        if self.lanes == 1:
            result = ir.Constant(self.whole, ir.Undefined)
            for lane, row in enumerate(rows):
                result = builder.insert_element(result, builder.load(row, align=4), _INT32(lane))
            return result
        parts = [self._vector(builder, row, vector) for row in rows]
        parts = [builder.load(part, align=4) for part in parts]
        width = min(self.lanes, WIDE)
        while len(parts) > 1:
            width *= 2
            lanes = ir.Constant(ir.VectorType(_INT32, width), list(range(width)))
            parts = [builder.shuffle_vector(*pair, lanes) for pair in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def _vector(self, builder: Any, row: Any, vector: int) -> Any:
        """Emit the address of a vector of a row."""
        return builder.bitcast(builder.gep(row, [_INT64(vector * WIDE)]), self.row.as_pointer())

    def _store(self, builder: Any, first: int, y: Any, sums: list[Any], ends: tuple[Any, ...]) -> None:
        """Emit bias, activation and the stores of some columns to where their outputs are."""
        order, bias, always, low, high = ends
        kind = ir.VectorType(_FLOAT, self.at_once)
        biases = builder.load(builder.bitcast(builder.gep(bias, [_INT64(first)]), kind.as_pointer()), align=4)
        at_zero = builder.select(always, biases, ir.Constant(kind, [0.0] * self.at_once))
        limits = splat(builder, low, WIDE), splat(builder, high, WIDE)
        for group in range(self.at_once // self.together):
            columns = range(group * self.together, (group + 1) * self.together)
            places = [builder.load(builder.gep(order, [_INT64(first + column)]), align=4) for column in columns]
            rows = [builder.gep(y, [builder.mul(builder.sext(p, _INT64), _INT64(self.lanes))]) for p in places]
            added = self._spread(builder, biases, columns), self._spread(builder, at_zero, columns)
            for vector in range(self.vectors):
                z = finish(builder, sums[group * self.vectors + vector], *added, *limits)
                self._scatter(builder, z, rows, vector)

    def _scatter(self, builder: Any, z: Any, rows: list[Any], vector: int) -> None:
        """Emit the stores of a vector's columns to their rows."""
        for number, row in enumerate(rows):
            if self.lanes == 1:
                builder.store(builder.extract_element(z, _INT32(number)), row, align=4)
                continue
            part = z
            if self.together > 1:
                its = list(range(number * self.lanes, (number + 1) * self.lanes))
                its = ir.Constant(ir.VectorType(_INT32, self.lanes), its)
                part = builder.shuffle_vector(z, ir.Constant(self.whole, ir.Undefined), its)
            builder.store(part, self._vector(builder, row, vector), align=4)


def _compiled_slice(lanes: int, far: bool) -> Callable[..., None]:
    @intrinsic
    def slice_of_columns(
        typing_context: Any, memory: Any, x_at: Any, y_at: Any, ids: Any, weights: Any, at: Any, same: Any, count: Any,
        order: Any, bias: Any, first: Any, always: Any, low: Any, high: Any,
    ) -> Any:  # fmt: skip
        i64, f32 = types.int64, types.float32
        signature = types.void(memory, i64, i64, ids, weights, i64, i64, i64, order, bias, i64, types.boolean, f32, f32)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def data(number: int, at: Any) -> Any:
                base = context.make_array(signature.args[number])(context, builder, args[number]).data
                return builder.gep(base, [at])

            code = _SliceCode(lanes, signature.args[3].dtype.bitwidth, signature.args[4].dtype, far=far)
            x, y, entries, values = data(0, args[1]), data(0, args[2]), data(3, args[5]), data(4, args[5])
            code.emit(builder, x, y, entries, values, args[6], args[7], (data(8, args[10]), data(9, args[10]), *args[11:]))
            return context.get_dummy_value()

        return signature, codegen

    return slice_of_columns


def _python_slice(lanes: int) -> Callable[..., None]:
    def slice_of_columns(
        memory: Any, x_at: int, y_at: int, ids: Any, weights: Any, at: int, same: int, count: int,
        order: Any, bias: Any, first: int, always: bool, low: Any, high: Any,
    ) -> None:  # fmt: skip
        """Compute a slice in NumPy, for runs without the JIT.

        memory : float32                              has x from `x_at` on and y from `y_at` on: a row of `lanes` for a neuron
        ids : uint16 or uint32                        the slice's entries from `at` on, 16 for each of `count` terms; in the
                                                      first `same` terms, all columns have one input
        weights : float32, uint16 or int16            of the entries; see `backends.common.short_weights`
        order : int32, bias : float32                 of its columns, from `first` on
        always : bool                                 the bias is added to a sum of zero too
        low, high : float32
        """
        for column in range(COLUMNS):
            z = np.zeros(lanes, np.float32)
            for k in range(at + column, at + COLUMNS * count, COLUMNS):
                row = x_at + int(ids[k]) * lanes
                z = z + memory[row : row + lanes] * widened(weights[k])
            added = bias[first + column]
            z = np.where(z != 0, z + added, added if always else np.float32(0))
            z = np.where(z < low, low, z)
            row = y_at + int(order[first + column]) * lanes
            memory[row : row + lanes] = np.where(z > high, high, z)

    return slice_of_columns


def _slice(lanes: int, *, far: bool) -> Callable[..., None]:
    return _python_slice(lanes) if JIT_DISABLED else _compiled_slice(lanes, far)


SLICES = {lanes: _slice(lanes, far=lanes > 1) for lanes in LANES}
"""Kernels of a slice, by lanes.

Those of several lanes ask for the next slice ahead: 24 layers of 768 x 3072, 10 % full, 34 MB, took 1.7 to 1.1 times as long
without it on a Zen 4 with 32 MB of third-level cache, and none of 6 MB took longer.
"""

FAR_SLICE = _slice(1, far=True)
"""The kernel of one lane for networks that do not stay in the third-level cache. One lane has so little to do for an entry that
asking takes 10 to 18 % more where they stay there; where they do not, the others take 1.3 times as long."""
