"""Lowers AveragePool, GlobalAveragePool, ReduceMean, and MaxPool by pairs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sparsednn.importers.lowering import RELU, Lowering, MeanMap, PoolMap, Traced, window_index
from sparsednn.importers.onnx_graph.operators.call import NodeCall, Operator
from sparsednn.importers.onnx_graph.operators.windows import window_axes


def average_pool(call: NodeCall) -> Traced:
    """Lower the mean of each window."""
    tensor = _images(call)
    axes = window_axes(call, tensor.shape[2:], call.integers("kernel_shape") or [], ceil=bool(call.integer("ceil_mode", 0)))
    channels = tensor.shape[1]
    operator = PoolMap(channels, axes, bool(call.integer("count_include_pad", 0)))
    return call.lowering.apply(tensor, operator, (1, channels, *(axis.out for axis in axes)))


def global_average_pool(call: NodeCall) -> Traced:
    """Lower the mean over all axes but batch and channels."""
    tensor = _images(call)
    return _mean(call, tensor, tuple(range(2, len(tensor.shape))), keep=True)


def reduce_mean(call: NodeCall) -> Traced:
    """Lower the mean over some axes."""
    tensor, rank = call.tensor(0), len(call.tensor(0).shape)
    given = call.whole(1, "the axes") if call.opset >= 18 else call.integers("axes")
    if not given and call.integer("noop_with_empty_axes", 0):
        return tensor
    axes = call.axes(given or None, rank)
    return _mean(call, tensor, tuple(range(rank)) if axes is None else axes, keep=bool(call.integer("keepdims", 1)))


def _mean(call: NodeCall, tensor: Traced, axes: tuple[int, ...], *, keep: bool) -> Traced:
    for axis in axes:
        call.require_within_instance(axis, "takes the mean along")
    kept = [(axis, size) for axis, size in enumerate(tensor.shape) if keep or axis not in axes]
    shape = tuple(1 if axis in axes else size for axis, size in kept)
    return call.lowering.apply(tensor, MeanMap(tensor.shape, axes), shape)


def max_pool(call: NodeCall) -> Traced:
    """Lower the largest of each window, by pairs: ``max(a, b) = b + relu(a - b)``, a layer for each halving."""
    tensor = _images(call)
    if len(call.node.outputs) > 1 and any(call.node.outputs[1:]):
        raise call.error("gives indices too; only the largest values can be had")
    if call.integer("storage_order", 0):
        raise call.error("has a storage_order for indices, which are not known")
    axes = window_axes(call, tensor.shape[2:], call.integers("kernel_shape") or [], ceil=bool(call.integer("ceil_mode", 0)))
    channels = tensor.shape[1]
    if not all(axis.inside.any(axis=1).all() for axis in axes):
        raise call.error("has windows that lie in the padding only")
    shape = (1, channels, *(axis.out for axis in axes))

    def element(number: int) -> Callable[[], NDArray[np.int64]]:
        return lambda: _filled(window_index(channels, axes))[:, number]

    n_elements = math.prod(axis.kernel for axis in axes)
    return _largest(call.lowering, [call.lowering.select(tensor, shape, element(number)) for number in range(n_elements)])


def _filled(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put an input of the window itself wherever it has padding, which changes no maximum."""
    first = index[np.arange(len(index)), (index >= 0).argmax(axis=1)]
    return np.where(index < 0, first[:, np.newaxis], index)


def _largest(lowering: Lowering, values: list[Traced]) -> Traced:
    """Return the largest of tensors, element by element."""
    while len(values) > 1:
        rows: list[Traced] = []
        parts: list[tuple[int, bool]] = []  # how many rows a value has, and whether it is a pair
        for one, other in zip(values[::2], [*values[1::2], None][: (len(values) + 1) // 2], strict=True):
            base = one if other is None else other
            signed = [] if lowering.nonnegative(base) else [lowering.scale(base, -1.0)]
            difference = [] if other is None else [lowering.add(one, other, -1)]
            rows += [*difference, base, *signed]
            parts.append((len(difference) + 1 + len(signed), bool(difference)))
        made = iter(lowering.activate(rows, RELU))
        values = []
        for n_rows, pair in parts:
            some = [next(made) for _ in range(n_rows)]
            total = some[0] if not pair else lowering.add(some[0], some[1])
            values.append(lowering.add(total, some[-1], -1) if n_rows > 1 + pair else total)
    return values[0]


def _images(call: NodeCall) -> Traced:
    """Return the input, which must have axes for batch, channels and at least one more."""
    tensor = call.tensor(0)
    if len(tensor.shape) < 3 or tensor.shape[0] != 1:
        raise call.error(f"activations have the shape {tensor.shape}; (batch, channels, ...) is needed")
    return tensor


POOLING: dict[str, Operator] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "MaxPool": max_pool,
    "ReduceMean": reduce_mean,
}
