"""Builds ONNX graphs for tests, and asks onnx.reference, which shares nothing with the importer, what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import sparsednn

OPSET = 21
Node = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, output, attributes."""


def graph(
    nodes: Sequence[Node | onnx.NodeProto],
    shape: Sequence[int | str | None],
    constants: Mapping[str, Any] | None = None,
    opset: int = OPSET,
) -> bytes:
    """Return a model whose input is x, of a shape with the batch first, and whose output is y."""
    made = [node if isinstance(node, onnx.NodeProto) else _named(node) for node in nodes]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", onnx.TensorProto.UNDEFINED, None)
    y.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    made_graph = helper.make_graph(made, "test", [x], [y], initializers)
    model = helper.make_model(made_graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return bytes(model.SerializeToString())


def _named(node: Node) -> onnx.NodeProto:
    operator, inputs, output, attributes = node
    return helper.make_node(operator, inputs, [output], name=f"the_{output}", **attributes)


def reference(data: bytes, x: np.ndarray) -> np.ndarray:
    """Return what onnx.reference computes for each instance alone."""
    evaluator = ReferenceEvaluator(data)
    each = [np.asarray(evaluator.run(None, {"x": one[np.newaxis]})[0]) for one in x]
    return np.stack([one[0] if one.shape[:1] == (1,) else one for one in each])


def imported(data: bytes, x: np.ndarray, **options: Any) -> np.ndarray:
    """Return what the imported model computes."""
    with sparsednn.from_onnx(data, **options).compile(threads=1) as model:
        return np.asarray(model(x))


def assert_agrees(data: bytes, x: np.ndarray, scale: float = 0.0) -> None:
    """Hold the imported model to onnx.reference, within 1e-6 of the largest output, or of `scale`."""
    expected, found = reference(data, x), imported(data, x)
    assert found.shape == expected.shape
    scale = max(float(np.abs(expected).max(initial=0)), scale, 1e-3)
    assert float(np.abs(found - expected).max(initial=0)) <= 1e-6 * scale
