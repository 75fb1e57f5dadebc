"""Adds products to sums that are scattered: the inner loop of event-driven rows, a few connections at a time."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from backends.common.jit import JIT_DISABLED
from backends.common.vectors import loaded_ids, splat

AT_ONCE = 8
"""Connections whose ids and weights are loaded together; each sum is a load and a store by itself."""

_FLOAT, _INT64 = ir.FloatType(), ir.IntType(64)

if JIT_DISABLED:

    def add_row(sums: Any, targets: Any, weights: Any, first: int, last: int, value: Any) -> None:
        """Add an input's products to the sums at its other ends, which are all different.

        sums : float32 (columns,)       result
        targets : uint16 or uint32 (connections,)
        weights : float32 (connections,)
        """
        sums[targets[first:last]] += value * weights[first:last]

else:

    @intrinsic
    def add_row(typing_context: Any, sums: Any, targets: Any, weights: Any, first: Any, last: Any, value: Any) -> Any:
        """Add an input's products to the sums at its other ends, which are all different."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            s, t, w = (context.make_array(signature.args[k])(context, builder, args[k]).data for k in range(3))
            _emit(builder, s, t, w, args[3], args[4], args[5], signature.args[1].dtype.bitwidth)
            return context.get_dummy_value()

        return types.void(sums, targets, weights, types.int64, types.int64, types.float32), codegen


def _emit(builder: Any, sums: Any, targets: Any, weights: Any, first: Any, last: Any, value: Any, bits: int) -> None:
    """Emit a loop over groups of connections, and one over those that are left."""
    groups = builder.sdiv(builder.sub(last, first), _INT64(AT_ONCE))
    kind, values = ir.VectorType(_FLOAT, AT_ONCE), splat(builder, value, AT_ONCE)
    with cgutils.for_range(builder, groups, intp=_INT64) as loop:
        at = builder.add(first, builder.mul(loop.index, _INT64(AT_ONCE)))
        ids = loaded_ids(builder, builder.gep(targets, [at]), AT_ONCE, bits)
        weight = builder.load(builder.bitcast(builder.gep(weights, [at]), kind.as_pointer()), align=4)
        products = builder.fmul(values, weight)
        places = [builder.gep(sums, [found]) for found in ids]
        before = [builder.load(place, align=4) for place in places]
        for number, place in enumerate(places):
            product = builder.extract_element(products, ir.IntType(32)(number))
            builder.store(builder.fadd(before[number], product), place, align=4)
    done = builder.add(first, builder.mul(groups, _INT64(AT_ONCE)))
    with cgutils.for_range(builder, builder.sub(last, done), intp=_INT64) as loop:
        at = builder.add(done, loop.index)
        place = builder.gep(sums, [builder.zext(builder.load(builder.gep(targets, [at])), _INT64)])
        product = builder.fmul(value, builder.load(builder.gep(weights, [at]), align=4))
        builder.store(builder.fadd(builder.load(place, align=4), product), place, align=4)
