"""Lowers operators that only choose, move or repeat elements: Reshape, Transpose, Slice, Pad, Concat and their like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from sparsednn.importers.lowering import Traced
from sparsednn.importers.onnx_graph.operators.call import NodeCall, Operator


def same(call: NodeCall) -> Traced:
    """Pass a tensor on: Identity; Dropout, which does nothing when a network is not trained."""
    if call.node.operator == "Dropout" and (training := call.constant(2, "the training mode")) is not None and training.any():
        raise call.error("is in training mode: export the model in evaluation mode, as after model.eval()")
    return call.tensor(0)


def reshaped(call: NodeCall) -> Traced:
    """Give a tensor another shape: Reshape, Flatten, Squeeze, Unsqueeze."""
    tensor = call.tensor(0)
    return Traced(tensor.serial, new_shape(call, tensor.shape))


def new_shape(call: NodeCall, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a node gives a tensor of a shape."""
    if call.node.operator == "Flatten":
        axis = call.integer("axis", 1)
        if not -len(shape) <= axis <= len(shape):
            raise call.error(f"axis {axis} does not fit a tensor of {len(shape)} axes")
        axis = axis + len(shape) if axis < 0 else axis
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    if call.node.operator == "Reshape":
        return _wanted(call, shape)
    axes = call.integers("axes") if call.opset < 13 else call.whole(1, "the axes")
    if call.node.operator == "Squeeze":
        gone = call.axes(axes, len(shape))
        gone = tuple(axis for axis, size in enumerate(shape) if size == 1) if gone is None else gone
        if any(shape[axis] != 1 for axis in gone):
            raise call.error(f"takes axes {gone} out of the shape {shape}, which are not all of size 1")
        return tuple(size for axis, size in enumerate(shape) if axis not in gone)
    added = call.axes(axes or [], len(shape) + len(axes or []))
    sizes = iter(shape)
    return tuple(1 if axis in (added or ()) else next(sizes) for axis in range(len(shape) + len(axes or [])))


def _wanted(call: NodeCall, shape: tuple[int, ...]) -> tuple[int, ...]:
    wanted = call.whole(1, "the shape")
    if wanted is None:
        raise call.error("has no shape")
    if not call.integer("allowzero", 0):
        wanted = [shape[axis] if size == 0 and axis < len(shape) else size for axis, size in enumerate(wanted)]
    total = math.prod(shape)
    if call.file_batch not in (None, 1) and -1 not in wanted and math.prod(wanted) == total * (call.file_batch or 1):
        wanted = [1 if axis == 0 and size == call.file_batch else size for axis, size in enumerate(wanted)]
    known = math.prod(size for size in wanted if size != -1)
    if wanted.count(-1) == 1 and known > 0 and total % known == 0:
        wanted = [total // known if size == -1 else size for size in wanted]
    if any(size < 1 for size in wanted) or math.prod(wanted) != total:
        raise call.error(f"cannot give the shape {wanted} to a tensor of the shape {shape}")
    return tuple(wanted)


def transpose(call: NodeCall) -> Traced:
    """Lower a change of the order of the axes."""
    tensor = call.tensor(0)
    rank = len(tensor.shape)
    order = call.axes(call.integers("perm"), rank)
    order = tuple(reversed(range(rank))) if order is None else order
    if len(order) != rank:
        raise call.error(f"perm has {len(order)} axes, but the tensor has {rank}")
    return picked(call, tensor, lambda index: index.transpose(order), tuple(tensor.shape[axis] for axis in order))


def slice_(call: NodeCall) -> Traced:
    """Lower a choice of ranges."""
    tensor = call.tensor(0)
    if call.opset < 10:
        starts, ends, axes, steps = call.integers("starts"), call.integers("ends"), call.integers("axes"), None
    else:
        starts, ends = call.whole(1, "the starts"), call.whole(2, "the ends")
        axes, steps = call.whole(3, "the axes"), call.whole(4, "the steps")
    if starts is None or ends is None or len(starts) != len(ends):
        raise call.error("has no starts and ends, or not as many of one as of the other")
    along = call.axes(list(range(len(starts))) if axes is None else axes, len(tensor.shape)) or ()
    steps = [1] * len(starts) if steps is None else steps
    if len(along) != len(starts) or len(steps) != len(starts) or 0 in steps:
        raise call.error(f"starts {starts}, axes {list(along)} and steps {steps} do not go together")
    ranges = [range(size) for size in tensor.shape]
    for axis, start, end, step in zip(along, starts, ends, steps, strict=True):
        ranges[axis] = range(tensor.shape[axis])[_range(start, end, step, tensor.shape[axis])]
        if len(ranges[axis]) != tensor.shape[axis]:
            call.require_within_instance(axis, "cuts")
    return _chosen(call, tensor, ranges)


def _range(start: int, end: int, step: int, size: int) -> slice:
    """Return a range as ONNX means it, where an end before the first element is none (going down)."""
    start, end = (place + size if place < 0 else place for place in (start, end))
    if step > 0:
        return slice(max(start, 0), max(end, 0), step)
    return slice(min(start, size - 1), end if end >= 0 else None, step)


def gather(call: NodeCall) -> Traced:
    """Lower a choice by a constant list of indices along one axis."""
    tensor = call.tensor(0)
    axis = call.axis("axis", 0, len(tensor.shape))
    indices = call.constant(1, "the indices")
    size = tensor.shape[axis]
    if indices is None or indices.dtype.kind not in "iu" or ((indices < -size) | (indices >= size)).any():
        raise call.error(f"its indices are no whole numbers from {-size} to {size - 1}")
    call.require_within_instance(axis, "chooses along")
    at = np.where(indices < 0, indices + size, indices)
    shape = (*tensor.shape[:axis], *at.shape, *tensor.shape[axis + 1 :])
    if math.prod(shape) == 0:
        raise call.error("chooses nothing")
    copies = int(np.bincount(at.reshape(-1)).max(initial=1))
    return call.lowering.select(
        tensor, shape, lambda: np.take(np.arange(tensor.size).reshape(tensor.shape), at, axis).reshape(-1), copies
    )


def pad(call: NodeCall) -> Traced:
    """Lower padding: constant, edge, reflect or wrap; negative padding cuts."""
    tensor, rank = call.tensor(0), len(call.tensor(0).shape)
    mode = call.text("mode", "constant")
    given, value = (call.integers("pads"), call.number("value", 0.0)) if call.opset < 11 else (call.whole(1, "the pads"), 0.0)
    if call.opset >= 11 and call.given(2):
        value = float(call.finite(2, "the value").reshape(-1)[0])
    along = call.axes(call.whole(3, "the axes"), rank) if call.opset >= 18 else None
    along = tuple(range(rank)) if along is None else along
    if given is None or len(given) != 2 * len(along) or mode not in ("constant", "edge", "reflect", "wrap"):
        raise call.error(f"pads {given} do not fit a tensor of {rank} axes, or the mode {mode} is unknown")
    pads = [(0, 0)] * rank
    for place, axis in enumerate(along):
        pads[axis] = (given[place], given[place + len(along)])
        if pads[axis] != (0, 0):
            call.require_within_instance(axis, "pads")
    ranges = [range(max(-before, 0), size - max(-after, 0)) for size, (before, after) in zip(tensor.shape, pads, strict=True)]
    cut = _chosen(call, tensor, ranges) if any(number < 0 for number in given) else tensor
    added = [(max(before, 0), max(after, 0)) for before, after in pads]
    shape = tuple(size + before + after for size, (before, after) in zip(cut.shape, added, strict=True))
    if mode == "constant":
        options: dict[str, Any] = {"constant_values": -1}
    elif any(max(ends) >= size for ends, size in zip(added, cut.shape, strict=True) if mode == "reflect"):
        raise call.error(f"reflects {added} of a tensor of the shape {cut.shape}, which is too small")
    else:
        options = {}

    def index() -> NDArray[np.int64]:
        numpy_mode = cast(Literal["constant", "edge", "reflect", "wrap"], mode)
        return np.asarray(np.pad(np.arange(cut.size).reshape(cut.shape), added, numpy_mode, **options), np.int64).reshape(-1)

    copies = 1 if mode == "constant" else math.prod(1 + sum(ends) for ends in added)
    return call.lowering.select(cut, shape, index, copies, value)


def concat(call: NodeCall) -> Traced:
    """Lower tensors that are put beside each other."""
    parts = [call.tensor(number) if isinstance(value, Traced) else value for number, value in enumerate(call.inputs)]
    tensors = [part if isinstance(part, Traced) else _constant_part(call, part) for part in parts]
    rank = len(tensors[0].shape)
    axis = call.axis("axis", 0, rank)
    call.require_within_instance(axis, "joins along")
    rest = {(*tensor.shape[:axis], *tensor.shape[axis + 1 :]) for tensor in tensors}
    if len(rest) != 1 or any(len(tensor.shape) != rank for tensor in tensors):
        raise call.error(f"shapes {', '.join(str(tensor.shape) for tensor in tensors)} cannot be joined along axis {axis}")
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)

    def order() -> NDArray[np.int64]:
        firsts = np.cumsum([0, *(tensor.size for tensor in tensors)])
        index = [
            np.arange(first, first + t.size).reshape(t.shape) for first, t in zip(firsts[:-1].tolist(), tensors, strict=True)
        ]
        return np.concatenate(index, axis=axis).reshape(-1)

    return call.lowering.concatenate(tensors, tuple(shape), order)


def _constant_part(call: NodeCall, constant: NDArray[Any] | None) -> Traced:
    """Return a constant as a tensor that depends on nothing."""
    if constant is None:
        raise call.error("an input is left out")
    values = call.checked(constant, "a constant part")
    some = next(value for value in call.inputs if isinstance(value, Traced))
    nothing = call.lowering.select(some, values.shape, lambda: np.full(values.size, -1))
    return call.lowering.shift(nothing, values)


def picked(call: NodeCall, tensor: Traced, view: Any, shape: tuple[int, ...]) -> Traced:
    """Return elements of a tensor in the order that a view of an array of their numbers has."""
    return call.lowering.select(tensor, shape, lambda: view(np.arange(tensor.size).reshape(tensor.shape)).reshape(-1))


def _chosen(call: NodeCall, tensor: Traced, ranges: Sequence[range]) -> Traced:
    """Return a tensor's elements at ranges of its axes."""
    shape = tuple(len(one) for one in ranges)
    if 0 in shape:
        raise call.error(f"leaves nothing of a tensor of the shape {tensor.shape}")
    return picked(call, tensor, lambda index: index[np.ix_(*ranges)], shape)


SHAPES: dict[str, Operator] = {
    "Concat": concat,
    "Dropout": same,
    "Flatten": reshaped,
    "Gather": gather,
    "Identity": same,
    "Pad": pad,
    "Reshape": reshaped,
    "Slice": slice_,
    "Squeeze": reshaped,
    "Transpose": transpose,
    "Unsqueeze": reshaped,
}
