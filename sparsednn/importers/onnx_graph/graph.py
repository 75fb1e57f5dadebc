"""Owns an ONNX graph as plain nodes and constants, read from a file and checked: one input, one output, no circle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError, MissingPackageError, OptionTypeError, StorageError
from sparsednn.importers.onnx_graph.tensors import TensorReader, one_line, shown

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

OLDEST_OPSET = 7
"""Before it, operators broadcast by attributes of their own."""

DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, eq=False)
class GraphNode:
    """A node: its name, or that of its output; operator, names of inputs and outputs, attributes as plain values."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        """Say which it is, for messages."""
        return f"node {shown(self.name)} ({shown(self.operator)[1:-1]})"


@dataclass(frozen=True, slots=True, eq=False)
class OnnxGraph:
    """A graph of one input and one output, with all nodes that the output needs, in order.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    nodes : tuple of GraphNode
    constants : dict of arrays by name
    input_name, output_name : str
    input_shape : tuple of int or None
        As the file has it; None for an axis without a fixed size.
    opset : int
    sha256 : str
        Of the file and of what was read from others.
    """

    name: str
    nodes: tuple[GraphNode, ...]
    constants: dict[str, NDArray[Any]]
    input_name: str
    output_name: str
    input_shape: tuple[int | None, ...]
    opset: int
    sha256: str


def read_graph(source: str | Path | bytes | bytearray) -> OnnxGraph:
    """Read an ONNX file, given by its path or its bytes.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    FileNotFoundError, OSError, ValueError, TypeError
        If there is no such file, it is malformed, or of a kind that cannot be imported; in one line that begins with the file.
    """
    name, folder, data = _bytes_of(source)
    proto = _parsed(name, data)
    opset = _opset(name, proto)
    digest = hashlib.sha256(data)
    reader = TensorReader(name, folder, digest)
    graph = proto.graph
    constants = {tensor.name: reader.array(tensor) for tensor in graph.initializer}
    constants |= {sparse.values.name: reader.sparse_array(sparse) for sparse in graph.sparse_initializer}
    nodes = [_node(node, reader) for node in graph.node]
    inputs = [value for value in graph.input if value.name not in constants]
    for kind, values in (("input", inputs), ("output", list(graph.output))):
        if len(values) != 1:
            names = ", ".join(shown(value.name) for value in values[:8]) or "none"
            raise DataError(f"{name}: has {len(values)} {kind}s ({names}); a graph of one is needed: export it with one {kind}")
    _require_order(name, nodes, {*constants, inputs[0].name}, graph.output[0].name)
    return OnnxGraph(
        name=name,
        nodes=tuple(needed_nodes(nodes, graph.output[0].name)),
        constants=constants,
        input_name=inputs[0].name,
        output_name=graph.output[0].name,
        input_shape=_shape(name, graph, inputs[0].name),
        opset=opset,
        sha256=digest.hexdigest(),
    )


def needed_nodes(nodes: Iterable[GraphNode], output: str) -> list[GraphNode]:
    """Return the nodes that an output needs, in their order."""
    wanted, kept = {output}, []
    for node in reversed(list(nodes)):
        if wanted & set(node.outputs):
            wanted |= set(node.inputs)
            kept.append(node)
    return kept[::-1]


def arranged(graph: OnnxGraph) -> OnnxGraph:
    """Return a graph that computes the same, with nodes in the order and places in which layers are best made of them."""
    return downsampling_first(pools_after_limits(graph))


def downsampling_first(graph: OnnxGraph) -> OnnxGraph:
    """Move convolutions that skip inputs directly behind their input, so that what they skip need not be carried any further.

    These are the shortcuts of residual networks, a kernel of 1 with a stride of 2: a quarter of the inputs.
    """
    early: dict[str, list[GraphNode]] = {}
    for node in graph.nodes:
        kernels = (
            graph.constants[node.inputs[1]].shape[2:] if len(node.inputs) > 1 and node.inputs[1] in graph.constants else ()
        )
        strides = node.attributes.get("strides", ())
        skips = isinstance(strides, list | tuple) and any(k < s for k, s in zip(kernels, strides, strict=False))
        if node.operator == "Conv" and skips and all(name in graph.constants for name in node.inputs[1:]):
            early.setdefault(node.inputs[0], []).append(node)
    moved = {node for nodes in early.values() for node in nodes}
    nodes = early.get(graph.input_name, []).copy()
    for node in graph.nodes:
        if node not in moved:
            nodes.append(node)
            nodes += [later for name in node.outputs for later in early.get(name, [])]
    return replace(graph, nodes=tuple(nodes)) if len(nodes) == len(graph.nodes) else graph


def pools_after_limits(graph: OnnxGraph) -> OnnxGraph:
    """Let a Relu or Clip that follows a MaxPool alone come before it: the same, and what is pooled has limits then."""
    users: dict[str, list[GraphNode]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    nodes: list[GraphNode] = []
    waiting: dict[str, GraphNode] = {}
    for node in graph.nodes:
        after = users.get(node.outputs[0], [])
        alone = len(after) == 1 and after[0].operator in ("Relu", "Clip") and after[0].inputs[0] == node.outputs[0]
        if node.operator == "MaxPool" and alone and node.outputs[0] != graph.output_name and len(node.outputs) == 1:
            waiting[node.outputs[0]] = node
        elif node.inputs and node.inputs[0] in waiting:
            pool = waiting.pop(node.inputs[0])
            between = f"{node.outputs[0]} before {pool.name}"
            nodes.append(replace(node, inputs=(pool.inputs[0], *node.inputs[1:]), outputs=(between,)))
            nodes.append(replace(pool, inputs=(between,), outputs=node.outputs))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _bytes_of(source: Any) -> tuple[str, Path | None, bytes]:
    """Return the name, folder and content of a file."""
    if isinstance(source, bytes | bytearray | memoryview):
        return "the model", None, bytes(source)
    if not isinstance(source, str | Path):
        raise OptionTypeError(f"path: the path of an ONNX file, or its bytes, is needed, not {type(source).__name__}")
    path = Path(source)
    if not path.is_file():
        raise MissingFileError(f"{path}: {'is a folder, no ONNX file' if path.is_dir() else 'no such file'}")
    try:
        return str(path), path.parent, path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error


def _parsed(name: str, data: bytes) -> ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise MissingPackageError(f"from_onnx needs the package onnx ({error}): pip install 'sparsednn[onnx]'") from error
    model: ModelProto = one_line(f"{name}: no ONNX model, or a damaged one", lambda: onnx.ModelProto.FromString(data))
    if not model.HasField("graph"):
        raise DataError(f"{name}: no ONNX model: it has no graph")
    return model


def _opset(name: str, model: ModelProto) -> int:
    import onnx

    versions = [entry.version for entry in model.opset_import if entry.domain in DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if not versions:
        raise DataError(f"{name}: does not say which version of the ONNX operators it uses")
    if not OLDEST_OPSET <= versions[0] <= newest:
        raise DataError(
            f"{name}: uses version {versions[0]} of the ONNX operators; known are {OLDEST_OPSET} to {newest}: export it with "
            "opset_version=17, or install a newer onnx"
        )
    return int(versions[0])


def _node(node: NodeProto, reader: TensorReader) -> GraphNode:
    outputs = tuple(node.output)
    plain = GraphNode(node.name or (outputs[0] if outputs else ""), node.op_type, tuple(node.input), outputs, {})
    if node.domain not in DOMAINS:
        raise DataError(f"{reader.name}: {plain}: of the domain {shown(node.domain)}; only operators of ONNX itself are known")
    if not outputs:
        raise DataError(f"{reader.name}: {plain}: has no output")
    return replace(plain, attributes={entry.name: _attribute(entry, reader) for entry in node.attribute})


def _attribute(attribute: AttributeProto, reader: TensorReader) -> Any:
    """Return an attribute as a plain value; graphs as None: no operator that is known has one."""
    import onnx

    if attribute.type == onnx.AttributeProto.TENSOR:
        return reader.array(attribute.t)
    if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
        return reader.sparse_array(attribute.sparse_tensor)
    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        return None
    value = one_line(f"{reader.name}: attribute {shown(attribute.name)}", lambda: onnx.helper.get_attribute_value(attribute))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _require_order(name: str, nodes: Iterable[GraphNode], known: set[str], output: str) -> None:
    """Refuse nodes that need what no node before them makes, or make what is there already."""
    for node in nodes:
        if missing := [value for value in node.inputs if value and value not in known]:
            raise DataError(
                f"{name}: {node}: needs {shown(missing[0])}, which nothing before it makes: a circle, or a damaged graph"
            )
        if twice := [value for value in node.outputs if value and value in known]:
            raise DataError(f"{name}: {node}: makes {shown(twice[0])}, which is there already: the graph is damaged")
        known |= set(node.outputs)
    if output not in known:
        raise DataError(f"{name}: no node makes the output {shown(output)}")


def _shape(name: str, graph: GraphProto, input_name: str) -> tuple[int | None, ...]:
    """Return the shape of the input; None for an axis whose size is not fixed."""
    value = next(value for value in graph.input if value.name == input_name)
    if not value.type.HasField("tensor_type"):
        raise DataError(f"{name}: the input {shown(input_name)} is no tensor")
    if not value.type.tensor_type.HasField("shape"):
        return ()
    axes = value.type.tensor_type.shape.dim
    return tuple(int(axis.dim_value) if axis.HasField("dim_value") and axis.dim_value > 0 else None for axis in axes)


def sizes(arrays: Iterable[NDArray[Any]]) -> tuple[int, int]:
    """Return how many numbers weights have, and how many are not zero: arrays of floats of more than one axis."""
    weights = [array for array in arrays if array.dtype.kind == "f" and array.ndim > 1]
    return sum(array.size for array in weights), sum(int(np.count_nonzero(array)) for array in weights)
