"""Makes layers of activations: those that clamp, those with a slope, and smooth ones. Here layers get theirs; nowhere else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparsednn.errors import OptionError
from sparsednn.importers.lowering import RELU, Traced
from sparsednn.importers.onnx_graph.operators.call import NodeCall, Operator
from sparsednn.network import Activation, activation_named


def activated(call: NodeCall, activation: Activation) -> Traced:
    """Make a layer whose outputs are the input after an activation."""
    [made] = call.lowering.activate([call.tensor(0)], activation)
    return made


def relu(call: NodeCall) -> Traced:
    """Make a layer."""
    return activated(call, RELU)


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
    return activated(call, Activation("clip", low, high))


def leaky_relu(call: NodeCall) -> Traced:
    """Make a layer with a slope below zero."""
    return activated(call, _made(call, "leaky_relu", slope=call.number("alpha", 0.01)))


def prelu(call: NodeCall) -> Traced:
    """Make a layer whose neurons have slopes of their own below zero."""
    slopes, shape = call.finite(1, "the slope"), call.tensor(0).shape
    try:
        each = np.broadcast_to(slopes, shape)
    except ValueError:
        raise call.error(f"the slope has the shape {slopes.shape}, which does not fit {shape}") from None
    if slopes.size == 1 or call.lowering.dry:
        return activated(call, _made(call, "prelu", slope=float(slopes.reshape(-1)[0])))
    try:
        return activated(call, Activation.per_neuron(slope=each.reshape(-1), name="prelu"))
    except OptionError as error:
        raise call.error(str(error)) from None


def absolute(call: NodeCall) -> Traced:
    """Make a layer whose slope below zero is -1."""
    return activated(call, Activation("abs", 0.0, math.inf, -1.0))


def sigmoid(call: NodeCall) -> Traced:
    """Make a layer of the logistic function."""
    return activated(call, activation_named("sigmoid"))


def hard_sigmoid(call: NodeCall) -> Traced:
    """Make a layer that clamps a straight line to 0..1."""
    scaled = call.lowering.scale(call.tensor(0), call.number("alpha", 0.2))
    line = call.lowering.shift(scaled, call.number("beta", 0.5))
    return call.lowering.activate([line], Activation("hard_sigmoid", 0.0, 1.0))[0]


def tanh(call: NodeCall) -> Traced:
    """Make a layer of the hyperbolic tangent."""
    return activated(call, activation_named("tanh"))


def gelu(call: NodeCall) -> Traced:
    """Make a layer of the Gaussian error linear unit, the exact one."""
    if call.text("approximate", "none") != "none":
        raise call.error("is approximated by tanh; only the exact gelu can be had: export with approximate='none'")
    return activated(call, activation_named("gelu"))


def _made(call: NodeCall, name: str, **numbers: Any) -> Activation:
    try:
        return Activation(name, -math.inf, math.inf, **numbers)
    except OptionError as error:
        raise call.error(str(error)) from None


ACTIVATIONS: dict[str, Operator] = {
    "Abs": absolute,
    "Clip": clip,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Relu": relu,
    "Sigmoid": sigmoid,
    "Tanh": tanh,
}
