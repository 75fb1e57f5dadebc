"""Draws graphs of convolutions, and writes each layer as a dense matrix by loops that share nothing with the importer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import sparsednn
from tests.importers.graphs import Node, graph


class Convolution(NamedTuple):
    """A convolution from a tensor of the shape (channels, *sizes): weights (channels, channels of a group, *kernel)."""

    sizes: tuple[int, ...]
    weights: np.ndarray
    bias: np.ndarray
    groups: int
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def out(self) -> tuple[int, ...]:
        """Number of windows along each axis."""
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.weights.shape[2:], strict=True)]
        each = zip(self.sizes, self.before, self.after, spans, self.strides, strict=True)
        return tuple((size + b + a - span) // stride + 1 for size, b, a, span, stride in each)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (len(self.weights), *self.out)

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights as a matrix (inputs, outputs), and the bias of each output."""
        n_channels, in_group, *kernel = self.weights.shape
        source = (in_group * self.groups, *self.sizes)
        matrix = np.zeros((int(np.prod(source)), int(np.prod(self.shape))), np.float32)
        for channel, *window in np.ndindex(*self.shape):
            column = np.ravel_multi_index((channel, *window), self.shape)
            for inner, *element in np.ndindex(in_group, *kernel):
                each = zip(window, self.strides, self.before, element, self.dilations, strict=True)
                at = [w * stride - b + e * d for w, stride, b, e, d in each]
                if all(0 <= one < size for one, size in zip(at, self.sizes, strict=True)):
                    row = np.ravel_multi_index((channel // (n_channels // self.groups) * in_group + inner, *at), source)
                    matrix[row, column] = self.weights[(channel, inner, *element)]
        return matrix, np.repeat(self.bias, int(np.prod(self.out)))

    def attributes(self) -> dict[str, Any]:
        """Return those of the node."""
        pads = [*self.before, *self.after]
        return {"group": self.groups, "strides": self.strides, "dilations": self.dilations, "pads": pads}


@st.composite
def convolutions(draw: st.DrawFn, most_layers: int = 3, most_channels: int = 9) -> list[Convolution]:
    """Chains of convolutions in one or two dimensions; weights may be zero, and all of a channel's."""
    n_axes = draw(st.integers(1, 2))
    sizes = tuple(draw(st.integers(2, 12 if n_axes == 1 else 7)) for _ in range(n_axes))
    channels, chain = draw(st.integers(1, 4)), list[Convolution]()
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(1, most_layers))):
        groups = 2 if channels % 2 == 0 and draw(st.booleans()) else 1
        each = [draw(axes(size)) for size in sizes]
        kernel, strides, dilations, before, after = zip(*each, strict=True)
        n_out = groups * draw(st.integers(1, most_channels))
        weights = rng.normal(size=(n_out, channels // groups, *kernel)).astype(np.float32)
        weights[rng.random(weights.shape) < draw(st.sampled_from([0, 0, 0.5]))] = 0
        if draw(st.integers(0, 3)) == 0:
            weights[0] = 0
        bias = rng.normal(size=n_out).astype(np.float32)
        chain.append(Convolution(sizes, weights, bias, groups, strides, dilations, before, after))
        channels, sizes = n_out, chain[-1].out
    return chain


@st.composite
def axes(draw: st.DrawFn, size: int) -> tuple[int, int, int, int, int]:
    """Kernel, stride, dilation and pads of an axis, so that a window fits."""
    before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    room = size + before + after
    kernel = draw(st.integers(1, min(room, 3)))
    dilation = draw(st.integers(1, 2)) if 2 * (kernel - 1) < room else 1
    return kernel, draw(st.integers(1, 3)), dilation, before, after


def graph_of(chain: Sequence[Convolution], operator: str = "Relu") -> bytes:
    """Return a graph of convolutions with an activation after each."""
    nodes, constants, x = list[Node](), dict[str, Any](), "x"
    for number, one in enumerate(chain):
        constants |= {f"w{number}": one.weights, f"b{number}": one.bias}
        nodes.append(("Conv", [x, f"w{number}", f"b{number}"], f"c{number}", one.attributes()))
        x = "y" if number == len(chain) - 1 else f"a{number}"
        nodes.append((operator, [f"c{number}"], x, {}))
    first = chain[0]
    return graph(nodes, ["n", first.weights.shape[1] * first.groups, *first.sizes], constants)


def unrolled(network: sparsednn.Network) -> sparsednn.Network:
    """Return the same network with every column on its own."""
    return sparsednn.Network.from_layers([layer.expanded() for layer in network.layers], network.bias_on)


def resnet20(seed: int = 0) -> bytes:
    """ResNet-20 for images of 32 x 32 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016), random."""
    rng, nodes, constants, numbers = np.random.default_rng(seed), list[onnx.NodeProto](), dict[str, Any](), itertools.count()

    def node(operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{next(numbers)}"
        nodes.append(helper.make_node(operator, inputs, [name], name=f"the_{name}", **attributes))
        return name

    def conv(x: str, before: int, after: int, kernel: int, stride: int) -> str:
        number, spread = next(numbers), (before * kernel**2) ** -0.5
        constants[f"w{number}"] = (rng.normal(size=(after, before, kernel, kernel)) * spread).astype(np.float32)
        constants[f"b{number}"] = (rng.normal(size=after) * 0.1).astype(np.float32)
        return node("Conv", [x, f"w{number}", f"b{number}"], strides=[stride] * 2, pads=[kernel // 2] * 4)

    x, channels = node("Relu", [conv("x", 3, 16, 3, 1)]), 16
    for width, block in itertools.product((16, 32, 64), range(3)):
        stride = 2 if width > channels and block == 0 else 1
        y = conv(node("Relu", [conv(x, channels, width, 3, stride)]), width, width, 3, 1)
        x = conv(x, channels, width, 1, stride) if stride > 1 else x
        x, channels = node("Relu", [node("Add", [y, x])]), width
    constants["last"] = (rng.normal(size=(10, 64)) * 0.3).astype(np.float32)
    last = node("Flatten", [node("GlobalAveragePool", [x])])
    nodes.append(helper.make_node("Gemm", [last, "last"], ["y"], name="the_y", transB=1))
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 32, 32])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 10])
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "resnet20", [given], [result], stored)
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
