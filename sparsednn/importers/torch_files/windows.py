"""Turns operators of PyTorch that look at images or sequences into ONNX nodes: convolutions, pools, means and padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsednn.importers.torch_files.calls import TorchCall


def convolution(call: TorchCall) -> str:
    """Add a convolution, weight of shape (filters, channels of a group, *places), and its bias."""
    n = len(call.size("weight")) - 2
    if call.flag("transposed", False):
        raise call.error("is a transposed convolution, which is not known")
    attributes = {
        "strides": call.each("stride", n, [1]), "dilations": call.each("dilation", n, [1]), "group": call.integer("groups", 1),
    }  # fmt: skip
    padding = call.arguments.get("padding", {}).get("as_string")
    if padding is not None:
        attributes["auto_pad"] = {"same": "SAME_UPPER"}.get(padding, "VALID")
    else:
        attributes["pads"] = call.each("padding", n, [0]) * 2
    bias = [call.tensor("bias")] if call.has("bias") else []
    return call.node("Conv", call.tensor("input"), call.tensor("weight"), *bias, **attributes)


def pool(call: TorchCall) -> str:
    """Add the largest or the mean of windows."""
    n = len(call.size("self")) - 2
    if call.flag("ceil_mode", False):
        raise call.error("has ceil_mode=True, whose last windows are not whole; pad the input, and leave it out")
    size = call.each("kernel_size", n, [1])
    attributes = {"kernel_shape": size, "strides": call.each("stride", n, size), "pads": call.each("padding", n, [0]) * 2}
    if call.operator.startswith("max_pool"):
        return call.node("MaxPool", call.tensor("self"), dilations=call.each("dilation", n, [1]), **attributes)
    if call.has("divisor_override"):
        raise call.error("has a divisor_override, which is not known")
    padded = int(call.flag("count_include_pad", True))
    return call.node("AveragePool", call.tensor("self"), count_include_pad=padded, **attributes)


def adaptive_pool(call: TorchCall) -> str:
    """Add the mean of windows that share the places evenly."""
    places = call.size("self")[2:]
    wanted = call.each("output_size", len(places), [1])
    if wanted == [1] * len(places):
        return call.node("GlobalAveragePool", call.tensor("self"))
    if any(not place or out < 1 or place % out for place, out in zip(places, wanted, strict=True)):
        raise call.error(f"makes {wanted} of {list(places)}, whose windows are not of one size; take an output that divides it")
    size = [(place or 0) // out for place, out in zip(places, wanted, strict=True)]
    return call.node("AveragePool", call.tensor("self"), kernel_shape=size, strides=size)


def mean(call: TorchCall) -> str:
    """Take the mean along axes."""
    axes = call.integers("dim", range(1, len(call.size("self"))))
    return call.node("ReduceMean", call.tensor("self"), axes=axes, keepdims=int(call.flag("keepdim", False)))


def padded(call: TorchCall) -> str:
    """Put a number around an image; PyTorch names the ends of the last axis first."""
    if call.text("mode", "constant") != "constant":
        raise call.error("pads with more than a constant, which is not known")
    rank, given = len(call.size("self")), call.integers("pad", [])
    starts, ends = [0] * rank, [0] * rank
    for number, (before, after) in enumerate(zip(given[::2], given[1::2], strict=True)):
        starts[rank - 1 - number], ends[rank - 1 - number] = before, after
    value = call.constant(call.number("value", 0.0))
    return call.node("Pad", call.tensor("self"), call.constant([*starts, *ends], np.int64), value)


WINDOWS: dict[str, Callable[[TorchCall], str]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), convolution),
    **dict.fromkeys([f"{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)], pool),
    **dict.fromkeys([f"max_pool{n}d_with_indices" for n in (1, 2, 3)], pool),
    **dict.fromkeys([f"{prefix}adaptive_avg_pool{n}d" for prefix in ("", "_") for n in (1, 2, 3)], adaptive_pool),
    "mean": mean,
    "constant_pad_nd": padded,
    "pad": padded,
}
