"""Puts nodes and constants together to the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from sparsednn.errors import MissingPackageError
from sparsednn.importers.onnx_graph.graph import GraphNode

OPSET, IR_VERSION = 17, 8


def onnx_bytes(nodes: Sequence[GraphNode], constants: Mapping[str, NDArray[Any]], shape: Sequence[int], output: str) -> bytes:
    """Return a graph with the input "input", whose batch is free.

    nodes : in order; constants : by name; shape : of one instance; output : name of the output

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingPackageError(f"this importer needs the package onnx ({error}): pip install 'sparsednn[onnx]'") from error
    made = [
        onnx.helper.make_node(node.operator, node.inputs, node.outputs, name=node.name, **node.attributes) for node in nodes
    ]
    floats = onnx.TensorProto.FLOAT
    x = onnx.helper.make_tensor_value_info("input", floats, ["batch", *shape])
    y = onnx.helper.make_tensor_value_info(output, floats, None)
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(made, "imported", [x], [y], initializers)
    opset = [onnx.helper.make_opsetid("", OPSET)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION).SerializeToString())
