"""Walks a graph from its input to its output: constants are computed, operators lowered, the end becomes a post-processing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.importers.lowering import Lowering, Traced
from sparsednn.importers.onnx_graph.ending import Ending, ending_nodes, ending_of
from sparsednn.importers.onnx_graph.folding import folded
from sparsednn.importers.onnx_graph.graph import GraphNode, OnnxGraph
from sparsednn.importers.onnx_graph.operators import OPERATORS, NodeCall
from sparsednn.importers.onnx_graph.tensors import shown
from sparsednn.importers.report import ImportReport, NodeReport

CONTROL, QUANTISED = ("If", "Loop", "Scan"), ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """A graph after a walk over its nodes: the lowered layers, and how instances enter and leave.

    Attributes
    ----------
    lowering : Lowering
    feed_shape : tuple of int
        Of one instance as the graph takes it, with an axis of size 1 for the batch if it has one.
    batched : bool
        Whether it has one.
    ending : Ending
    report : ImportReport
    """

    lowering: Lowering
    feed_shape: tuple[int, ...]
    batched: bool
    ending: Ending
    report: ImportReport

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one instance, without the batch."""
        return self.feed_shape[1:] if self.batched else self.feed_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the graph's output for one instance, without the batch."""
        shape = self.ending.shape
        return shape[1:] if self.batched and shape[:1] == (1,) else shape


Observer = Callable[[str, Lowering, Traced], None]
"""Sees each tensor that depends on the input as soon as it is there."""


def walk(graph: OnnxGraph, input_shape: Sequence[int] | None, *, dry: bool, observe: Observer | None = None) -> Walked:
    """Lower a graph to layers; in a dry run only count them.

    Raises
    ------
    ValueError
        If the graph has something that no layer does, or does not fit itself; in one line with node and operator.
    """
    return _Walk(graph, input_shape, dry, observe).run()


class _Walk:
    """The state of one walk."""

    def __init__(self, graph: OnnxGraph, input_shape: Sequence[int] | None, dry: bool, observe: Observer | None) -> None:
        self._graph, self._lowering, self._observe = graph, Lowering(dry), observe
        self._feed_shape, self._batched = feed_shape(graph, input_shape)
        self._file_batch = graph.input_shape[0] if self._batched and graph.input_shape else None
        self._constants: dict[str, NDArray[Any]] = dict(graph.constants)
        self._tensors: dict[str, Traced] = {}
        self._layers_before: list[tuple[GraphNode, int]] = []
        self._exact = not dry

    def run(self) -> Walked:
        graph, lowering = self._graph, self._lowering
        end = ending_nodes(graph)
        last_part = set(end)
        network_output = end[0].inputs[0] if end else graph.output_name
        self._set(graph.input_name, lowering.input(self._feed_shape))
        last_use = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
        last_use[network_output] = len(graph.nodes)
        for number, node in enumerate(graph.nodes):
            if node not in last_part:
                self._node(number, node, last_use)
                self._tensors = {name: one for name, one in self._tensors.items() if last_use.get(name, -1) > number}
        if network_output not in self._tensors:
            raise DataError(f"{graph.name}: the output {shown(graph.output_name)} does not depend on the input")
        output = self._tensors[network_output]
        lowering.finish(output)
        ending = ending_of(end, output.shape, self._call_of_end)
        return Walked(lowering, self._feed_shape, self._batched, ending, self._report())

    def _node(self, number: int, node: GraphNode, last_use: dict[str, int]) -> None:
        inputs = [self._input(name, node) for name in node.inputs]
        if node.operator == "Shape" and inputs and isinstance(inputs[0], Traced):
            call, shape = self._call(node, tuple(inputs)), inputs[0].shape
            part = shape[call.integer("start", 0) : call.integer("end", len(shape))]
            self._constants[node.outputs[0]] = np.array(part, np.int64)
            return
        if not any(isinstance(value, Traced) for value in inputs):
            arrays = [value for value in inputs if not isinstance(value, Traced)]
            results = folded(node, arrays, self._graph.opset, self._graph.name)
            self._constants |= {name: array for name, array in zip(node.outputs, results, strict=False) if name}
            return
        if (operator := OPERATORS.get(node.operator)) is None:
            raise DataError(f"{self._graph.name}: {node}: {way_out(node.operator)}")
        live = [tensor for name, tensor in self._tensors.items() if last_use.get(name, -1) > number]
        now = [value for value in inputs if isinstance(value, Traced)]
        self._lowering.keep([*live, *now])
        self._lowering.live, self._lowering.node, self._lowering.operator = live, node.name, node.operator
        self._layers_before.append((node, len(self._lowering.reports)))
        self._set(node.outputs[0], operator(self._call(node, tuple(inputs))))

    def _set(self, name: str, tensor: Traced) -> None:
        self._tensors[name] = tensor
        if self._observe is not None:
            self._observe(name, self._lowering, tensor)

    def _input(self, name: str, node: GraphNode) -> Traced | NDArray[Any] | None:
        if not name:
            return None
        if name not in self._tensors and name not in self._constants:
            raise DataError(f"{self._graph.name}: {node}: needs {shown(name)}, a second output, which cannot be had")
        return self._tensors[name] if name in self._tensors else self._constants[name]

    def _call(self, node: GraphNode, inputs: tuple[Traced | NDArray[Any] | None, ...]) -> NodeCall:
        return NodeCall(self._graph.name, node, self._graph.opset, self._lowering, inputs, self._batched, self._file_batch)

    def _call_of_end(self, node: GraphNode) -> NodeCall:
        """Return a call with the constants only: what the end works on is no tensor of the network any more."""
        return self._call(node, tuple(self._constants.get(name) for name in node.inputs))

    def _report(self) -> ImportReport:
        """Say for each node in which layers it ended: those that were made for it, and of linear ones what uses them first."""
        reports, total = self._lowering.reports, len(self._lowering.reports)
        ends, users = [*(before for _, before in self._layers_before), total][1:], dict[str, int]()
        nodes = []
        for (node, before), after in reversed(list(zip(self._layers_before, ends, strict=True))):
            last, first = after, before + 1
            if all(layer.activation == "identity" for layer in reports[before:after]):
                last = min((users[name] for name in node.outputs if name in users), default=total)
                first = min(first, last) if after > before else last
            nodes.append(NodeReport(node.name, node.operator, tuple(range(first, last + 1))))
            users |= {name: min(first, users.get(name, first)) for name in node.inputs}
        return ImportReport(tuple(reversed(nodes)), tuple(reports), self._exact)


def feed_shape(graph: OnnxGraph, input_shape: Sequence[int] | None) -> tuple[tuple[int, ...], bool]:
    """Return the shape of one instance as the graph takes it, and whether its first axis is that of the batch.

    An input of several axes has the batch first, whatever size the file gives it; one that is given with as many axes as the
    file has takes no batch.
    """
    file = graph.input_shape
    if input_shape is not None:
        given = tuple(int(size) for size in input_shape)
        if not given or any(size < 1 for size in given) or (file and len(given) not in (len(file), len(file) - 1)):
            raise DataError(f"{graph.name}: input_shape={given} does not fit the input of shape {said(file)}, batch first")
        batched = not file or len(given) < len(file)
        own = file[1:] if batched else file
        if any(size is not None and size != mine for size, mine in zip(own, given, strict=bool(file))):
            raise DataError(f"{graph.name}: input_shape={given}, but the file says {said(own)} for an instance")
        return ((1, *given) if batched else given), batched
    if not file or any(size is None for size in file[1:]) or (len(file) == 1 and file[0] is None):
        raise DataError(f"{graph.name}: the shape of the input is {said(file)}; give that of one instance: input_shape=(...)")
    if len(file) == 1:
        return (file[0] or 1,), False
    return (1, *(size or 1 for size in file[1:])), True


def said(shape: Sequence[int | None]) -> str:
    """Return a shape as text, with ? for what is not fixed."""
    return f"({', '.join('?' if size is None else str(size) for size in shape)})" if shape else "unknown"


def way_out(operator: str) -> str:
    """Say what would do instead of an operator that cannot be had."""
    if operator in CONTROL:
        return "a layer cannot depend on a condition; export the model traced, without control flow"
    if operator in QUANTISED:
        return "quantises activations, which no layer does; export with quantised weights only, or in float32"
    if operator in ("Softmax", "LogSoftmax", "ArgMax"):
        return "can stand at the end of a graph only; inside, there is no layer for it: use Relu, Clip or Sigmoid there"
    return (
        f"there is no layer for this operator; those that can be had are {', '.join(sorted(OPERATORS))}, and at the end "
        "Softmax, LogSoftmax, ArgMax"
    )
