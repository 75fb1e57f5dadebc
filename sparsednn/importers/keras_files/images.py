"""Turns layers of Keras that look at images or sequences into ONNX nodes: convolutions, pools, padding, cropping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsednn.importers.keras_files.builder import GraphBuilder, KerasLayer

Activate = Callable[[GraphBuilder, KerasLayer, str], str]
"""Adds a layer's activation."""

FAR = 2**31 - 1


def convolution(builder: GraphBuilder, layer: KerasLayer, x: str, activate: Activate) -> str:
    """Add a convolution, kernel of shape (*places, channels of a group, filters), its bias and its activation."""
    n = int(layer.kind[-2])
    kernel = layer.array(0, n + 2, "kernel")
    weights = kernel.transpose(n + 1, n, *range(n))
    return _convolved(builder, layer, x, n, weights, int(layer.integers("groups", 1)[0]), 1, activate)


def depthwise(builder: GraphBuilder, layer: KerasLayer, x: str, activate: Activate) -> str:
    """Add a convolution of each channel by itself, kernel of shape (*places, channels, multiplier)."""
    n = int(layer.kind[-2])
    weights, channels = _depthwise_weights(layer, n)
    return _convolved(builder, layer, x, n, weights, channels, 1, activate)


def separable(builder: GraphBuilder, layer: KerasLayer, x: str, activate: Activate) -> str:
    """Add a convolution of each channel by itself, and one of 1 x 1."""
    n = int(layer.kind[-2])
    weights, channels = _depthwise_weights(layer, n)
    y = _windows(builder, layer, x, n, "Conv", [builder.constant(layer, weights)], group=channels)
    pointwise = layer.array(1, n + 2, "pointwise kernel").transpose(n + 1, n, *range(n))
    return _finished(builder, layer, builder.node(layer, "Conv", [y, builder.constant(layer, pointwise)]), 2, n, activate)


def _depthwise_weights(layer: KerasLayer, n: int) -> tuple[Any, int]:
    kernel = layer.array(0, n + 2, "kernel")
    *places, channels, multiplier = kernel.shape
    return kernel.transpose(n, n + 1, *range(n)).reshape(channels * multiplier, 1, *places), channels


def _convolved(
    builder: GraphBuilder, layer: KerasLayer, x: str, n: int, weights: Any, groups: int, bias: int, activate: Activate
) -> str:
    y = _windows(builder, layer, x, n, "Conv", [builder.constant(layer, np.ascontiguousarray(weights))], group=groups)
    return _finished(builder, layer, y, bias, n, activate)


def _finished(builder: GraphBuilder, layer: KerasLayer, y: str, bias: int, n: int, activate: Activate) -> str:
    """Add the bias, array number `bias` of the layer, put the channels back, and add the activation."""
    if layer.config.get("use_bias", True):
        by_channel = layer.array(bias, 1, "bias").reshape(-1, *[1] * n)
        y = builder.node(layer, "Add", [y, builder.constant(layer, by_channel)])
    return activate(builder, layer, y if layer.channels_first else builder.turned(layer, y, False))


def pool(builder: GraphBuilder, layer: KerasLayer, x: str, activate: Activate) -> str:
    """Add the largest or the mean of windows."""
    n = int(layer.kind[-2])
    size = layer.integers("pool_size", n, 2)
    operator = "MaxPool" if layer.kind.startswith("Max") else "AveragePool"
    strides = layer.integers("strides", n, size)
    y = _windows(builder, layer, x, n, operator, [], kernel_shape=size, strides=strides)
    return y if layer.channels_first else builder.turned(layer, y, False)


def _windows(
    builder: GraphBuilder, layer: KerasLayer, x: str, n: int, operator: str, more: list[str], **attributes: Any
) -> str:
    """Add a node that slides windows over `n` axes of places, channels first."""
    if builder.ranks[x] != n + 2:
        raise layer.error(f"its input has {builder.ranks[x]} axes; {n + 2} are needed")
    padding = layer.config.get("padding", "valid")
    attributes.setdefault("strides", layer.integers("strides", n))
    if operator == "Conv":
        attributes["dilations"] = layer.integers("dilation_rate", n)
    if padding == "causal" and n == 1:
        attributes["pads"] = [attributes["dilations"][0] * (layer.weights[0].shape[0] - 1), 0]
    elif padding in ("valid", "same"):
        attributes["auto_pad"] = "VALID" if padding == "valid" else "SAME_UPPER"
    else:
        raise layer.error(f"padding {str(padding)[:40]!r} is unknown")
    first = x if layer.channels_first else builder.turned(layer, x, True)
    return builder.node(layer, operator, [first, *more], **attributes)


def global_average(builder: GraphBuilder, layer: KerasLayer, x: str, activate: Activate) -> str:
    """Add the mean over all places."""
    n = int(layer.kind[-2])
    keep = bool(layer.config.get("keepdims", False))
    axes = list(range(2, n + 2)) if layer.channels_first else list(range(1, n + 1))
    return builder.node(layer, "ReduceMean", [x], rank=n + 2 if keep else 2, axes=axes, keepdims=int(keep))


def _ends(layer: KerasLayer, n: int, name: str) -> list[tuple[int, int]]:
    """Return how much is added or cut before and after each axis."""
    given = layer.config.get(name, 1)
    if not isinstance(given, list):
        given = [given] * n
    given = [given] if n == 1 and len(given) == 2 else given
    pairs = [tuple(one) if isinstance(one, list) else (one, one) for one in given]
    if len(pairs) != n or any(len(pair) != 2 or not all(type(end) is int and end >= 0 for end in pair) for pair in pairs):
        raise layer.error(f"{name} is not two whole numbers for each of {n} axes")
    return [(int(before), int(after)) for before, after in pairs]


def zero_padding(builder: GraphBuilder, layer: KerasLayer, x: str, activate: Activate) -> str:
    """Add zeros around the places."""
    n = int(layer.kind[-2])
    ends = [(0, 0), *([(0, 0)] if layer.channels_first else []), *_ends(layer, n, "padding")]
    ends += [] if layer.channels_first else [(0, 0)]
    pads = [before for before, _ in ends] + [after for _, after in ends]
    return builder.node(layer, "Pad", [x, builder.constant(layer, pads, np.int64)])


def cropping(builder: GraphBuilder, layer: KerasLayer, x: str, activate: Activate) -> str:
    """Cut places off."""
    n = int(layer.kind[-2])
    ends = _ends(layer, n, "cropping")
    axes = list(range(2, n + 2)) if layer.channels_first else list(range(1, n + 1))
    parts = ([before for before, _ in ends], [-after if after else FAR for _, after in ends], axes)
    return builder.node(layer, "Slice", [x, *(builder.constant(layer, part, np.int64) for part in parts)])


IMAGES: dict[str, Callable[[GraphBuilder, KerasLayer, str, Activate], str]] = {
    f"{name}{n}D": make
    for n in (1, 2)
    for name, make in (
        ("AveragePooling", pool),
        ("Conv", convolution),
        ("Cropping", cropping),
        ("DepthwiseConv", depthwise),
        ("GlobalAveragePooling", global_average),
        ("MaxPooling", pool),
        ("SeparableConv", separable),
        ("ZeroPadding", zero_padding),
    )
}
