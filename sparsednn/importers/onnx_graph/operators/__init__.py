"""Owns the ONNX operators that can be imported, by name."""

from __future__ import annotations

from sparsednn.importers.onnx_graph.operators.activations import ACTIVATIONS
from sparsednn.importers.onnx_graph.operators.call import NodeCall, Operator
from sparsednn.importers.onnx_graph.operators.elementwise import ELEMENTWISE
from sparsednn.importers.onnx_graph.operators.linear import LINEAR
from sparsednn.importers.onnx_graph.operators.pooling import POOLING
from sparsednn.importers.onnx_graph.operators.shapes import SHAPES

OPERATORS: dict[str, Operator] = ACTIVATIONS | ELEMENTWISE | LINEAR | POOLING | SHAPES

__all__ = ["OPERATORS", "NodeCall", "Operator"]
