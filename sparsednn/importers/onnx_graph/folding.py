"""Computes nodes whose inputs are all constants, with onnx's own reference; only operators that cannot run away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.importers.onnx_graph.graph import GraphNode
from sparsednn.importers.onnx_graph.tensors import WAY_OUT, one_line
from sparsednn.system.memory import require

Array = NDArray[Any]
ELEMENTWISE = {
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "DequantizeLinear", "Div", "Equal", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow",
    "QuantizeLinear", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Sum", "Tanh", "Where",
}  # fmt: skip
"""Their outputs have the shape to which the inputs broadcast."""

NO_LARGER = {
    "ArgMax", "ArgMin", "Compress", "Flatten", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
    "Shape", "Size", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Their outputs have no more elements than the inputs have together, or a few."""

PRODUCTS = {"Gather", "Gemm", "MatMul"}
SHAPED = {"ConstantOfShape", "Expand", "Tile"}
FOLDED = ELEMENTWISE | NO_LARGER | PRODUCTS | SHAPED | {"Concat", "Constant", "Range"}


def folded(node: GraphNode, inputs: Sequence[Array | None], opset: int, file: str) -> list[Array]:
    """Return the outputs of a node.

    Raises
    ------
    ValueError, MemoryError
        If it is no operator that is computed beforehand, it does not fit its inputs, or its output does not fit into memory.
    """
    where = f"{file}: {node}"
    if node.operator == "Constant":
        return [_constant(node, where)]
    if node.operator not in FOLDED:
        raise DataError(f"{where}: has only constant inputs, but cannot be computed beforehand; export with constants folded")
    given = [array for array in inputs if array is not None]
    n_elements = one_line(where, lambda: _most_elements(node.operator, given))
    require(8 * n_elements, f"{where}, which makes {n_elements:,} numbers of constants,", WAY_OUT)
    result: list[Array] = one_line(where, lambda: _computed(node, inputs, opset))
    return result


def _constant(node: GraphNode, where: str) -> Array:
    """Return the value of a Constant."""
    for name, value in node.attributes.items():
        if name in ("value", "sparse_value"):
            return np.asarray(value)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
        if name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
    raise DataError(f"{where}: has no value of numbers")


def _most_elements(operator: str, inputs: Sequence[Array]) -> int:
    """Return how many elements the output has at most."""
    if operator in ELEMENTWISE:
        return math.prod(np.broadcast_shapes(*(array.shape for array in inputs)))
    if operator == "ConstantOfShape":
        return math.prod(map(int, inputs[0].reshape(-1)))
    if operator == "Expand":
        return math.prod(np.broadcast_shapes(inputs[0].shape, tuple(map(int, inputs[1].reshape(-1)))))
    if operator == "Tile":
        return inputs[0].size * math.prod(map(int, inputs[1].reshape(-1)))
    if operator == "Range":
        first, last, step = (float(array) for array in inputs)
        return max(math.ceil((last - first) / step), 0)
    if operator in PRODUCTS:
        return math.prod(max(array.size, 1) for array in inputs[:2])
    return sum(array.size for array in inputs) + 64


def _computed(node: GraphNode, inputs: Sequence[Array | None], opset: int) -> list[Array]:
    """Run one node with onnx's reference."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = [f"i{number}" if array is not None else "" for number, array in enumerate(inputs)]
    outputs = [f"o{number}" if name else "" for number, name in enumerate(node.outputs)]
    attributes = {
        name: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
    made = onnx.helper.make_node(node.operator, names, outputs, **attributes)
    feeds = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), None)
        for name, array in feeds.items()
    ]
    results = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in outputs if name]
    graph = onnx.helper.make_graph([made], "folded", infos, results)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    with np.errstate(all="ignore"):
        found = iter(ReferenceEvaluator(model).run(None, feeds))
    return [np.asarray(next(found)) if name else np.zeros(0) for name in outputs]
