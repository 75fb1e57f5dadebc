"""Turns operators of PyTorch into ONNX nodes: products, activations, normalisations, sums and shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsednn.importers.torch_files.calls import TorchCall
from sparsednn.importers.torch_files.windows import WINDOWS

Maker = Callable[[TorchCall], str]
"""Adds the nodes of a call; returns the name of their output."""

LARGEST = 2**63 - 1
"""The end of a range that goes to the end."""

FLOATS = (6, 7, 8, 13)
"""PyTorch's numbers of the types that hold fractions."""


def linear(call: TorchCall) -> str:
    """Multiply by the transpose of a weight of shape (outputs, inputs)."""
    y = call.node("MatMul", call.tensor("input"), call.node("Transpose", call.tensor("weight"), perm=[1, 0]))
    return call.node("Add", y, call.tensor("bias")) if call.has("bias") else y


def product(call: TorchCall) -> str:
    """Multiply two matrices."""
    return call.node("MatMul", call.tensor("self"), call.tensor("mat2", "other"))


def addmm(call: TorchCall) -> str:
    """Multiply two matrices and add a third."""
    if call.number("beta", 1.0) != 1.0 or call.number("alpha", 1.0) != 1.0:
        raise call.error("has a beta or alpha other than 1")
    return call.node("Add", call.node("MatMul", call.tensor("mat1"), call.tensor("mat2")), call.tensor("self"))


def batch_norm(call: TorchCall) -> str:
    """Normalise by the mean and variance that training has left."""
    if call.flag("training", False) or call.flag("train", False):
        raise call.error("is in training mode: export the module in evaluation mode, after module.eval()")
    mean, channels = call.tensor("running_mean"), call.size("running_mean")[0] or 0
    scale = call.tensor("weight") if call.has("weight") else call.constant(np.ones(channels))
    shift = call.tensor("bias") if call.has("bias") else call.constant(np.zeros(channels))
    inputs = (call.tensor("input"), scale, shift, mean, call.tensor("running_var"))
    return call.node("BatchNormalization", *inputs, epsilon=call.number("eps", 1e-5))


def plain(operator: str) -> Maker:
    """Return what adds one node without attributes."""
    return lambda call: call.node(operator, call.tensor("self", "input"))


def clip(call: TorchCall, low: float | None, high: float | None) -> str:
    """Bound activations."""
    ends = ["" if end is None else call.constant(end) for end in (low, high)]
    return call.node("Clip", call.tensor("self"), *ends)


def hardtanh(call: TorchCall) -> str:
    """Bound activations by what the call says."""
    return clip(call, call.number("min_val", -1.0), call.number("max_val", 1.0))


def clamp(call: TorchCall) -> str:
    """Bound activations at one end, or at both."""
    low, high = (call.number(name) if call.has(name) else None for name in ("min", "max"))
    return clip(call, low, high)


def leaky_relu(call: TorchCall) -> str:
    """Multiply what is negative by a slope."""
    return call.node("LeakyRelu", call.tensor("self"), alpha=call.number("negative_slope", 0.01))


def prelu(call: TorchCall) -> str:
    """Multiply what is negative by a slope for each channel."""
    n, rank = call.size("weight")[0] or 0, len(call.size("self"))
    shape = call.constant([n, *[1] * max(rank - 2, 0)], np.int64)
    return call.node("PRelu", call.tensor("self"), call.node("Reshape", call.tensor("weight"), shape))


def gelu(call: TorchCall) -> str:
    """Apply the exact GELU."""
    if call.text("approximate", "none") != "none":
        raise call.error("is the approximate GELU; the exact one can be had: GELU(approximate='none')")
    return call.node("Gelu", call.tensor("self"))


def along(operator: str) -> Maker:
    """Return what adds a node that goes along one axis."""
    return lambda call: call.node(operator, call.tensor("self"), axis=call.integer("dim", -1))


def arithmetic(operator: str) -> Maker:
    """Return what combines a tensor with another, or with a number; add and sub may multiply that by alpha."""

    def combined(call: TorchCall) -> str:
        other, alpha = call.operand("other"), call.number("alpha", 1.0)
        if alpha != 1.0:
            other = call.node("Mul", other, call.constant(alpha))
        return call.node(operator, call.operand("self"), other)

    return combined


def subtracted_from(call: TorchCall) -> str:
    """Subtract a tensor from another, or from a number."""
    if call.number("alpha", 1.0) != 1.0:
        raise call.error("has an alpha other than 1")
    return call.node("Sub", call.operand("other"), call.tensor("self"))


def hardsigmoid(call: TorchCall) -> str:
    """Add a sixth of activations to a half, and bound that by 0 and 1."""
    return call.node("HardSigmoid", call.tensor("self"), alpha=1 / 6, beta=0.5)


def sliced(call: TorchCall) -> str:
    """Choose a range along one axis."""
    axis = call.integer("dim", 0)
    ends = [call.integer("start", 0), call.integer("end", LARGEST), axis, call.integer("step", 1)]
    return call.node("Slice", call.tensor("self"), *(call.constant([end], np.int64) for end in ends))


def dropout(call: TorchCall) -> str:
    """Do nothing, as a network does that is not trained."""
    if call.flag("train", False):
        raise call.error("is in training mode: export the module in evaluation mode, after module.eval()")
    return call.tensor("input", "self")


def same(call: TorchCall) -> str:
    """Pass a tensor on, which may get another type that holds fractions."""
    if call.arguments.get("dtype", {}).get("as_scalar_type", FLOATS[0]) not in FLOATS:
        raise call.error("makes whole numbers of activations")
    return call.tensor("self", "input")


def reshaped(call: TorchCall) -> str:
    """Give a tensor the shape that the program says; instances stay apart."""
    x, sizes = call.tensor("self"), list(call.out_size)
    if x in call.graph.varying:
        sizes[:1] = [0]  # the batch, whatever size the program was exported with
    if None in sizes:
        raise call.error(f"makes a shape that the program does not fix: {sizes}")
    return call.node("Reshape", x, call.constant(sizes, np.int64))


def transposed(call: TorchCall) -> str:
    """Change the order of axes."""
    rank = len(call.size("self"))
    order = list(range(rank))
    if call.operator == "permute":
        order = [axis % rank for axis in call.integers("dims", order)]
    else:
        one, other = (0, 1) if call.operator == "t" else (call.integer(name, 0) % rank for name in ("dim0", "dim1"))
        order[one], order[other] = other, one
    return call.node("Transpose", call.tensor("self"), perm=order)


def joined(call: TorchCall) -> str:
    """Put tensors side by side."""
    return call.node("Concat", *call.tensors("tensors"), axis=call.integer("dim", 0))


OPERATORS: dict[str, Maker] = {
    "linear": linear, "matmul": product, "mm": product, "addmm": addmm, "batch_norm": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm,
    "hardtanh": hardtanh, "relu6": lambda call: clip(call, 0.0, 6.0), "clamp": clamp, "leaky_relu": leaky_relu,
    "prelu": prelu, "gelu": gelu, "hardsigmoid": hardsigmoid, "rsub": subtracted_from, "slice": sliced,
    "cat": joined, "t": transposed, "transpose": transposed, "permute": transposed,
    **{name: plain(operator) for name, operator in (
        ("relu", "Relu"), ("sigmoid", "Sigmoid"), ("tanh", "Tanh"), ("abs", "Abs"), ("neg", "Neg"),
    )},
    **{name: along("Softmax") for name in ("softmax", "_softmax")},
    **{name: along("LogSoftmax") for name in ("log_softmax", "_log_softmax")},
    **{name: arithmetic(name.capitalize()) for name in ("add", "sub", "mul", "div")},
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), dropout),
    **dict.fromkeys(("alias", "clone", "contiguous", "detach", "lift_fresh_copy", "to", "_to_copy"), same),
    **dict.fromkeys(("flatten", "view", "reshape", "_unsafe_view", "unflatten", "squeeze", "unsqueeze"), reshaped),
    **WINDOWS,
}  # fmt: skip
"""By name; those that end in _ change their input in place, which makes no difference here."""
