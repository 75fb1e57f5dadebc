"""Lowers Gemm, MatMul, Conv and BatchNormalization."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparsednn.importers.lowering import ConvolutionMap, MatrixMap, Traced
from sparsednn.importers.onnx_graph.operators.call import NodeCall, Operator
from sparsednn.importers.onnx_graph.operators.elementwise import broadcast
from sparsednn.importers.onnx_graph.operators.shapes import picked
from sparsednn.importers.onnx_graph.operators.windows import window_axes

Float64 = NDArray[np.float64]


def gemm(call: NodeCall) -> Traced:
    """Lower ``alpha * A @ B + beta * C``, where A or B is constant."""
    sides: list[Traced | Float64] = []
    for number, name in ((0, "transA"), (1, "transB")):
        turned = call.integer(name, 0)
        value = call.inputs[number] if number < len(call.inputs) else None
        side = value if isinstance(value, Traced) else call.finite(number, "the matrix")
        if len(side.shape) != 2:
            raise call.error(f"input {number} has the shape {side.shape}; a matrix is needed")
        if turned:
            side = side.T if not isinstance(side, Traced) else picked(call, side, np.transpose, side.shape[::-1])
        sides.append(side)
    product = _product(call, sides[0], sides[1], call.number("alpha", 1.0))
    beta = call.number("beta", 1.0)
    if not call.given(2) or beta == 0:
        return product
    summand = call.inputs[2]
    if isinstance(summand, Traced):
        return call.lowering.add(product, call.lowering.scale(broadcast(call, summand, product.shape), beta))
    bias = call.finite(2, "the bias")
    _require_bias(call, bias, product.shape)
    return call.lowering.shift(product, beta * bias)


def matmul(call: NodeCall) -> Traced:
    """Lower a product of a tensor and a constant matrix, on either side."""
    if len(call.inputs) != 2:
        raise call.error(f"has {len(call.inputs)} inputs; two are needed")
    one, other = (v if isinstance(v, Traced) else call.finite(n, "the matrix") for n, v in enumerate(call.inputs))
    return _product(call, one, other, 1.0)


def _product(call: NodeCall, one: Traced | Float64, other: Traced | Float64, alpha: float) -> Traced:
    if isinstance(one, Traced) and isinstance(other, Traced):
        raise call.error("multiplies activations by activations, which no layer does; one matrix must be constant")
    if isinstance(one, Traced) and not isinstance(other, Traced):
        return _times_constant(call, one, alpha * _matrix(call, other))
    if isinstance(other, Traced) and not isinstance(one, Traced):
        return _constant_times(call, alpha * _matrix(call, one), other)
    raise call.error("has no input that depends on the network's input")


def _times_constant(call: NodeCall, tensor: Traced, weights: Float64) -> Traced:
    """Return ``tensor (..., k) @ weights (k, n)``, or (k,)."""
    k, shape = weights.shape[0], tensor.shape
    if not shape or shape[-1] != k:
        raise call.error(f"weights of the shape {weights.shape} do not fit activations of the shape {shape}")
    rows = weights.T if weights.ndim == 2 else weights[np.newaxis]
    operator = MatrixMap(np.ascontiguousarray(rows), before=math.prod(shape[:-1]))
    return call.lowering.apply(tensor, operator, (*shape[:-1], *weights.shape[1:]))


def _constant_times(call: NodeCall, weights: Float64, tensor: Traced) -> Traced:
    """Return ``weights (m, k) @ tensor (..., k, n)``; each may be a vector (k,)."""
    k, shape = weights.shape[-1], tensor.shape
    inner = shape[-2] if len(shape) > 1 else shape[-1] if shape else 0
    if inner != k:
        raise call.error(f"weights of the shape {weights.shape} do not fit activations of the shape {shape}")
    before, after = (math.prod(shape[:-2]), shape[-1]) if len(shape) > 1 else (1, 1)
    operator = MatrixMap(weights.reshape(-1, k), before, after)
    return call.lowering.apply(tensor, operator, (*shape[:-2], *weights.shape[:-1], *(shape[-1:] if len(shape) > 1 else ())))


def _matrix(call: NodeCall, weights: Float64) -> Float64:
    """Return weights as a matrix or vector, without axes of size 1 before."""
    while weights.ndim > 2 and weights.shape[0] == 1:
        weights = weights[0]
    if weights.ndim not in (1, 2):
        raise call.error(f"weights have the shape {weights.shape}: several matrices; one is needed")
    return weights


def conv(call: NodeCall) -> Traced:
    """Lower a convolution along any number of axes."""
    tensor, weights = call.tensor(0), call.finite(1, "the weights")
    groups, shape = call.integer("group", 1), tensor.shape
    if len(shape) < 3 or weights.ndim != len(shape) or shape[0] != 1:
        raise call.error(f"weights of the shape {weights.shape} do not fit activations of the shape {shape}")
    n_channels, in_group = weights.shape[:2]
    if groups < 1 or n_channels % groups or in_group * groups != shape[1] or not weights.size:
        raise call.error(f"weights of the shape {weights.shape} in {groups} groups do not fit {shape[1]} channels")
    kernel = call.integers("kernel_shape") or list(weights.shape[2:])
    if tuple(kernel) != weights.shape[2:]:
        raise call.error(f"kernel_shape {kernel} is not that of its weights, {weights.shape}")
    axes = window_axes(call, shape[2:], kernel)
    bias = call.finite(2, "the bias") if call.given(2) else np.zeros(n_channels)
    if bias.shape != (n_channels,):
        raise call.error(f"the bias has the shape {bias.shape}, but there are {n_channels} channels")
    out = (1, n_channels, *(axis.out for axis in axes))
    by_channel = bias.reshape(n_channels, *[1] * len(axes))
    return call.lowering.apply(tensor, ConvolutionMap(weights, groups, axes), out, by_channel)


def batch_normalization(call: NodeCall) -> Traced:
    """Lower a scale and a shift for each channel."""
    tensor = call.tensor(0)
    if call.integer("training_mode", 0) or not call.integer("spatial", 1):
        raise call.error("is in training mode, or not by channel: export the model in evaluation mode, as after model.eval()")
    names = ("the scale", "the bias", "the mean", "the variance")
    scale, bias, mean, variance = (call.finite(number, name) for number, name in enumerate(names, start=1))
    if len(tensor.shape) < 2 or any(each.shape != (tensor.shape[1],) for each in (scale, bias, mean, variance)):
        raise call.error(f"its numbers do not fit activations of the shape {tensor.shape}: one for each channel is needed")
    spread = variance + call.number("epsilon", 1e-5)
    if not (spread > 0).all():
        raise call.error("a variance is below zero")
    factor = scale / np.sqrt(spread)
    by_channel = (-1, *[1] * (len(tensor.shape) - 2))
    scaled = call.lowering.scale(tensor, factor.reshape(by_channel))
    return call.lowering.shift(scaled, (bias - mean * factor).reshape(by_channel))


def _require_bias(call: NodeCall, bias: Float64, shape: tuple[int, ...]) -> None:
    try:
        np.broadcast_to(bias, shape)
    except ValueError:
        raise call.error(f"the bias has the shape {bias.shape}, which does not fit {shape}") from None


LINEAR: dict[str, Operator] = {"BatchNormalization": batch_normalization, "Conv": conv, "Gemm": gemm, "MatMul": matmul}
