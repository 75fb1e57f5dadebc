"""Turns layers of Keras into ONNX nodes: dense layers, activations, normalisations, merges and shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsednn.importers.keras_files.builder import GraphBuilder, KerasLayer
from sparsednn.importers.keras_files.images import IMAGES, Activate

LayerMaker = Callable[[GraphBuilder, KerasLayer, list[str]], str]
"""Adds a layer's nodes; takes the names of its inputs, returns that of its output."""

PLAIN = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
LIMITS = {"relu6": (0.0, 6.0), "hard_tanh": (-1.0, 1.0)}
ALONG_LAST = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}
NAMES = ("linear", *PLAIN, *LIMITS, *ALONG_LAST, "leaky_relu")
FUNCTION_SLOPE = 0.2
"""Slope of the function leaky_relu, which has no configuration; the slope of the layer of that name is in the file."""

NOTHING = (
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D",
    "SpatialDropout2D", "SpatialDropout3D",
)  # fmt: skip
"""They do nothing when a network is not trained."""


def activated(builder: GraphBuilder, layer: KerasLayer, x: str, given: Any = None) -> str:
    """Add the activation that a layer has, or that is given by name, or as a layer's configuration."""
    name = layer.config.get("activation") if given is None else given
    if name is None or name == "linear":
        return x
    if isinstance(name, dict) and name.get("class_name") in ("ReLU", "LeakyReLU", "Softmax"):
        config = name.get("config")
        inner = KerasLayer(layer.file, layer.name, name["class_name"], config if isinstance(config, dict) else {}, [])
        return LAYERS[inner.kind](builder, inner, [x])
    if not isinstance(name, str) or name not in NAMES:
        shown = name.get("config", name.get("class_name")) if isinstance(name, dict) else name
        raise layer.error(f"its activation is {str(shown)[:40]!r}; those that can be had are {', '.join(NAMES)}")
    if name in PLAIN:
        return builder.node(layer, PLAIN[name], [x])
    if name in LIMITS:
        return _clipped(builder, layer, x, *LIMITS[name])
    if name in ALONG_LAST:
        return builder.node(layer, ALONG_LAST[name], [x], axis=-1)
    return builder.node(layer, "LeakyRelu", [x], alpha=FUNCTION_SLOPE)


def _clipped(builder: GraphBuilder, layer: KerasLayer, x: str, low: float, high: float) -> str:
    return builder.node(layer, "Clip", [x, builder.constant(layer, low), builder.constant(layer, high)])


def dense(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Multiply by the kernel, shape (inputs, units)."""
    y = builder.node(layer, "MatMul", [inputs[0], builder.constant(layer, layer.array(0, 2, "kernel"))])
    if layer.config.get("use_bias", True):
        y = builder.node(layer, "Add", [y, builder.constant(layer, layer.array(1, 1, "bias"))])
    return activated(builder, layer, y)


def batch_normalization(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Scale and shift along one axis."""
    given = layer.config.get("axis", -1)
    [axis] = given if isinstance(given, list) and len(given) == 1 else [given]
    rank = builder.ranks[inputs[0]]
    if isinstance(axis, bool) or not isinstance(axis, int) or axis % rank == 0:
        raise layer.error(f"axis {axis} is none of channels")
    flags = [bool(layer.config.get(name, True)) for name in ("scale", "center")]
    n_before = sum(flags)
    mean, variance = (layer.array(n_before + at, 1, what).astype(np.float64) for at, what in enumerate(("mean", "variance")))
    gamma = layer.array(0, 1, "gamma").astype(np.float64) if flags[0] else np.ones_like(mean)
    beta = layer.array(int(flags[0]), 1, "beta").astype(np.float64) if flags[1] else np.zeros_like(mean)
    spread = variance + layer.number("epsilon", 1e-3)
    if not (spread > 0).all() or not len(gamma) == len(beta) == len(mean) == len(variance):
        raise layer.error("its arrays do not go together, or a variance is below zero")
    factor = gamma / np.sqrt(spread)
    shape = (-1, *[1] * (rank - 1 - axis % rank))
    y = builder.node(layer, "Mul", [inputs[0], builder.constant(layer, factor.reshape(shape))])
    return builder.node(layer, "Add", [y, builder.constant(layer, (beta - mean * factor).reshape(shape))])


def relu(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Cut off below zero, and above a maximum."""
    slope, threshold = layer.number("negative_slope"), layer.number("threshold")
    if threshold or (slope and layer.config.get("max_value") is not None):
        raise layer.error("has a threshold, or a slope and a maximum; no layer does that")
    if slope:
        return builder.node(layer, "LeakyRelu", [inputs[0]], alpha=slope)
    if layer.config.get("max_value") is None:
        return builder.node(layer, "Relu", [inputs[0]])
    return _clipped(builder, layer, inputs[0], 0.0, layer.number("max_value"))


def leaky_relu(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Multiply what is below zero."""
    slope = layer.number("negative_slope", layer.number("alpha", 0.3))
    return builder.node(layer, "LeakyRelu", [inputs[0]], alpha=slope)


def prelu(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Multiply what is below zero by slopes of its own."""
    slopes = layer.array(0, builder.ranks[inputs[0]] - 1, "slopes")
    return builder.node(layer, "PRelu", [inputs[0], builder.constant(layer, slopes)])


def softmax(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Make probabilities of the values."""
    [axis] = layer.integers("axis", 1, -1)
    return builder.node(layer, "Softmax", [inputs[0]], axis=axis)


def flatten(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Give each instance one axis; channels come last in it, whatever the layout."""
    x = builder.turned(layer, inputs[0], False) if layer.channels_first and builder.ranks[inputs[0]] > 2 else inputs[0]
    return builder.node(layer, "Flatten", [x], rank=2, axis=1)


def reshape(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Give each instance another shape."""
    target = layer.config.get("target_shape")
    shape = layer.integers("target_shape", len(target) if isinstance(target, list) else 1)
    return builder.node(layer, "Reshape", [inputs[0], builder.constant(layer, [0, *shape], np.int64)], rank=1 + len(shape))


def permute(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Change the order of the axes."""
    return builder.node(layer, "Transpose", [inputs[0]], perm=[0, *layer.integers("dims", builder.ranks[inputs[0]] - 1)])


def merge(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Add, subtract, average or join tensors."""
    if len(inputs) < 2:
        raise layer.error("has less than two inputs")
    if layer.kind == "Concatenate":
        [axis] = layer.integers("axis", 1, -1)
        return builder.node(layer, "Concat", inputs, axis=axis)
    y = inputs[0]
    for other in inputs[1:]:
        y = builder.node(layer, "Sub" if layer.kind == "Subtract" else "Add", [y, other])
    if layer.kind == "Average":
        y = builder.node(layer, "Mul", [y, builder.constant(layer, 1 / len(inputs))])
    return y


def rescaling(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Multiply by a number, and add one."""
    y = builder.node(layer, "Mul", [inputs[0], builder.constant(layer, layer.number("scale", 1.0))])
    return builder.node(layer, "Add", [y, builder.constant(layer, layer.number("offset"))])


def nothing(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Pass on."""
    return inputs[0]


def activation(builder: GraphBuilder, layer: KerasLayer, inputs: list[str]) -> str:
    """Add an activation alone."""
    return activated(builder, layer, inputs[0])


def _image(make: Callable[[GraphBuilder, KerasLayer, str, Activate], str]) -> LayerMaker:
    return lambda builder, layer, inputs: make(builder, layer, inputs[0], activated)


LAYERS: dict[str, LayerMaker] = {
    "Activation": activation,
    "Add": merge,
    "Average": merge,
    "BatchNormalization": batch_normalization,
    "Concatenate": merge,
    "Dense": dense,
    "Flatten": flatten,
    "LeakyReLU": leaky_relu,
    "PReLU": prelu,
    "Permute": permute,
    "ReLU": relu,
    "Rescaling": rescaling,
    "Reshape": reshape,
    "Softmax": softmax,
    "Subtract": merge,
    **dict.fromkeys(NOTHING, nothing),
    **{kind: _image(make) for kind, make in IMAGES.items()},
}
"""By the class of Keras."""
