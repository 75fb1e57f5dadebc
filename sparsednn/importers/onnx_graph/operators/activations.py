"""Makes layers of activations: Relu, Clip, LeakyRelu, PRelu, Abs. Here a layer gets its limits; nowhere else."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sparsednn.importers.lowering import RELU, Traced
from sparsednn.importers.onnx_graph.operators.call import NodeCall, Operator
from sparsednn.network import Activation


def relu(call: NodeCall) -> Traced:
    """Make a layer."""
    return clamp(call, call.tensor(0), 0.0, math.inf)


def clip(call: NodeCall) -> Traced:
    """Make a layer with limits."""
    ends = []
    for number, name, nothing in ((1, "min", -math.inf), (2, "max", math.inf)):
        if call.opset < 11:
            ends.append(call.number(name, nothing) if name in call.node.attributes else nothing)
            continue
        given = call.constant(number, f"the {name}imum")
        if given is not None and (given.size != 1 or given.dtype.kind not in "fiu" or np.isnan(given).any()):
            raise call.error(f"its {name}imum is no number")
        ends.append(nothing if given is None else float(given.reshape(-1)[0]))
    low, high = (end if abs(end) < float(np.finfo(np.float32).max) else math.copysign(math.inf, end) for end in ends)
    if not low <= high or low == math.inf or high == -math.inf:
        raise call.error(f"nothing lies between its limits {low} and {high}")
    if low == -math.inf and high == math.inf:
        return call.tensor(0)
    return clamp(call, call.tensor(0), low, high)


def clamp(call: NodeCall, tensor: Traced, low: float, high: float) -> Traced:
    """Return ``min(max(tensor, low), high)``, the one place where an activation becomes a layer's limits.

    A layer's limits are those of all its neurons. Where values are carried beside, one relu cuts at each end:
    ``low + relu(x - low)``, then ``high - relu(high - x)``, which reach the limits exactly and round between them.
    """
    lowering = call.lowering
    if (low, high) == (0.0, math.inf) or not lowering.carries():
        activation = RELU if (low, high) == (0.0, math.inf) else Activation("clip", low, high)
        return lowering.activate([tensor], activation)[0]
    if low > -math.inf:
        [above] = lowering.activate([tensor if low == 0 else lowering.shift(tensor, -low)], RELU)
        tensor = above if low == 0 else lowering.shift(above, low)
    if high < math.inf:
        [below] = lowering.activate([lowering.shift(lowering.scale(tensor, -1.0), high)], RELU)
        tensor = lowering.shift(lowering.scale(below, -1.0), high)
    return tensor


def leaky_relu(call: NodeCall) -> Traced:
    """Make a layer of two rows for each element."""
    return two_slopes(call, call.number("alpha", 0.01))


def prelu(call: NodeCall) -> Traced:
    """Make a layer of two rows for each element, with slopes of their own below zero."""
    slopes, shape = call.finite(1, "the slope"), call.tensor(0).shape
    try:
        np.broadcast_to(slopes, shape)
    except ValueError:
        raise call.error(f"the slope has the shape {slopes.shape}, which does not fit {shape}") from None
    return two_slopes(call, slopes)


def absolute(call: NodeCall) -> Traced:
    """Make a layer of two rows for each element."""
    return two_slopes(call, -1.0)


def two_slopes(call: NodeCall, slopes: ArrayLike) -> Traced:
    """Return x above zero and ``slopes * x`` below: ``relu(x) - slopes * relu(-x)``, the one place where a slope is made."""
    lowering, tensor = call.lowering, call.tensor(0)
    above, below = lowering.activate([tensor, lowering.scale(tensor, -1.0)], RELU)
    return lowering.add(above, lowering.scale(below, -np.asarray(slopes, np.float64)))


ACTIVATIONS: dict[str, Operator] = {
    "Abs": absolute,
    "Clip": clip,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Relu": relu,
}
