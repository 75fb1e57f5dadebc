"""Graphs that end in a softmax, a sigmoid or an argmax, against onnx.reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparsednn
from tests.importers.graphs import assert_agrees, graph


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Sigmoid", "ArgMax"])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_ends(operator: str, opset: int) -> None:
    attributes: dict[str, Any] = {"axis": 1} if operator != "Sigmoid" else {}
    nodes: list[Any] = [("Gemm", ["x", "w"], "z", {}), (operator, ["z"], "y", attributes)]
    assert_agrees(graph(nodes, ["n", 5], {"w": random(8, 5, 7)}, opset), random(9, 6, 5))


def test_a_sigmoid_before_the_end_is_a_layer() -> None:
    nodes: list[Any] = [("Sigmoid", ["x"], "s", {}), ("Sigmoid", ["s"], "t", {}), ("Softmax", ["t"], "p", {"axis": -1})]
    nodes.append(("ArgMax", ["p"], "y", {"axis": 1}))
    data = graph(nodes, ["n", 5])
    assert_agrees(data, random(9, 6, 5))
    assert [layer.operator for layer in sparsednn.from_onnx(data).report.layers] == ["Sigmoid", "Sigmoid"]


def test_an_argmax_after_a_softmax_and_shapes_between() -> None:
    nodes: list[Any] = [
        ("Conv", ["x", "w"], "z", {}),
        ("Softmax", ["z"], "p", {"axis": 1}),
        ("Squeeze", ["p", "axes"], "q", {}),
        ("ArgMax", ["q"], "y", {"axis": 1, "keepdims": 0}),
    ]
    constants = {"w": random(8, 5, 2, 3, 3), "axes": np.array([2, 3])}
    assert_agrees(graph(nodes, ["n", 2, 3, 3], constants), random(9, 6, 2, 3, 3))
