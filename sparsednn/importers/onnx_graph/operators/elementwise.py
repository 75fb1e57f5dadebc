"""Lowers Add, Sub, Mul, Div, Neg and Cast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.importers.lowering import Traced
from sparsednn.importers.onnx_graph.operators.call import NodeCall, Operator

FLOATS = (1, 10, 11, 16)
"""The numbers that ONNX has for float32, float16, float64 and bfloat16."""


def add(call: NodeCall) -> Traced:
    """Lower a sum, of two tensors or with a constant."""
    return _sum(call, 1)


def sub(call: NodeCall) -> Traced:
    """Lower a difference."""
    return _sum(call, -1)


def mul(call: NodeCall) -> Traced:
    """Lower a product with a constant."""
    tensor, number = _tensor_and_constant(call)
    factors = call.finite(number, "the factor")
    return call.lowering.scale(broadcast(call, tensor, _shape(call, tensor.shape, factors.shape)), factors)


def div(call: NodeCall) -> Traced:
    """Lower a division by a constant."""
    tensor, number = _tensor_and_constant(call)
    if number == 0:
        raise call.error("divides by activations; only a division by a constant is linear")
    divisors = call.finite(1, "the divisor")
    if not divisors.all():
        raise call.error("divides by zero")
    return call.lowering.scale(broadcast(call, tensor, _shape(call, tensor.shape, divisors.shape)), 1 / divisors)


def neg(call: NodeCall) -> Traced:
    """Lower a change of sign."""
    return call.lowering.scale(call.tensor(0), -1.0)


def cast(call: NodeCall) -> Traced:
    """Pass on what stays a float."""
    if call.integer("to", 1) not in FLOATS:
        raise call.error("makes whole numbers of activations; there is no layer for that")
    return call.tensor(0)


def broadcast(call: NodeCall, tensor: Traced, shape: tuple[int, ...]) -> Traced:
    """Repeat a tensor's elements until it has a shape."""
    if tensor.shape == shape:
        return tensor

    def index() -> NDArray[np.int64]:
        return np.broadcast_to(np.arange(tensor.size).reshape(tensor.shape), shape).reshape(-1)

    return call.lowering.select(tensor, shape, index, copies=max(math.prod(shape) // max(tensor.size, 1), 1))


def _shape(call: NodeCall, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise call.error(f"shapes {' and '.join(map(str, shapes))} do not go together") from None


def _sum(call: NodeCall, sign: int) -> Traced:
    lowering = call.lowering
    one, other = (call.inputs[number] if number < len(call.inputs) else None for number in (0, 1))
    if isinstance(one, Traced) and isinstance(other, Traced):
        shape = _shape(call, one.shape, other.shape)
        return lowering.add(broadcast(call, one, shape), broadcast(call, other, shape), sign)
    tensor, number = _tensor_and_constant(call)
    constants: Any = call.finite(number, "the summand")
    result = broadcast(call, tensor, _shape(call, tensor.shape, constants.shape))
    if number == 0 and sign < 0:  # constant - tensor
        return lowering.shift(lowering.scale(result, -1.0), constants)
    return lowering.shift(result, sign * constants)


def _tensor_and_constant(call: NodeCall) -> tuple[Traced, int]:
    """Return the input that is a tensor, and the number of the other one."""
    if len(call.inputs) != 2:
        raise call.error(f"has {len(call.inputs)} inputs; two are needed")
    if isinstance(call.inputs[0], Traced) and isinstance(call.inputs[1], Traced):
        raise call.error("multiplies or divides activations by activations, which no layer does; one must be constant")
    number = 1 if isinstance(call.inputs[0], Traced) else 0
    return call.tensor(1 - number), number


ELEMENTWISE: dict[str, Operator] = {"Add": add, "Sub": sub, "Mul": mul, "Div": div, "Neg": neg, "Cast": cast}
