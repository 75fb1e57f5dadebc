"""Turns the end of a graph, Softmax, LogSoftmax, Sigmoid or ArgMax, into a model's post-processing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sparsednn.importers.onnx_graph.graph import GraphNode, OnnxGraph
from sparsednn.importers.onnx_graph.operators.call import NodeCall
from sparsednn.importers.onnx_graph.operators.shapes import new_shape
from sparsednn.importers.postprocessing import Postprocess

KINDS: dict[str, Postprocess] = {"Softmax": "softmax", "LogSoftmax": "logsoftmax", "Sigmoid": "sigmoid", "ArgMax": "argmax"}
SHAPES_ONLY = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")


class Ending(NamedTuple):
    """The end of a graph, after the network: its kind, and the shape of the output for one instance, with the batch's axis."""

    postprocess: Postprocess
    shape: tuple[int, ...]


def ending_nodes(graph: OnnxGraph) -> list[GraphNode]:
    """Return the nodes from the post-processing on: a chain to the output, in order; none if there is none.

    It is the last of its kind, and the one before if that is an ArgMax; what is before these is part of the network.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    uses = [name for node in graph.nodes for name in node.inputs]
    chain, name = [], graph.output_name
    while name in makers and makers[name].operator in (*KINDS, *SHAPES_ONLY) and makers[name].inputs:
        if name != graph.output_name and uses.count(name) != 1:
            break
        chain.append(makers[name])
        name = makers[name].inputs[0]
    chain.reverse()
    places = [number for number, node in enumerate(chain) if node.operator in KINDS]
    if not places:
        return []
    n_kept = 2 if chain[places[-1]].operator == "ArgMax" else 1
    return chain[places[-n_kept:][0] :]


def ending_of(nodes: Sequence[GraphNode], shape: tuple[int, ...], call_of: Callable[[GraphNode], NodeCall]) -> Ending:
    """Return the post-processing of a chain of nodes after a network whose output has a shape.

    Raises
    ------
    ValueError
        If they do more than one of these, or along only a part of an instance.
    """
    kind: Postprocess = "none"
    for node in nodes:
        call = call_of(node)
        if node.operator == "Cast":
            continue
        if node.operator == "Identity":
            continue
        if node.operator in SHAPES_ONLY:
            shape = new_shape(call, shape)
            continue
        if node.operator == "ArgMax":
            if call.integer("select_last_index", 0):
                raise call.error("takes the last of equal values; only the first can be had")
            axis = call.axis("axis", 0, len(shape))
            _require_whole(call, shape[axis], shape)
            kept = bool(call.integer("keepdims", 1))
            shape = tuple(1 if at == axis else size for at, size in enumerate(shape) if kept or at != axis)
        elif kind != "none":
            raise call.error(f"follows {kind}; a graph may end in one of {', '.join(KINDS)}, and an ArgMax after it")
        elif node.operator != "Sigmoid":
            axis = call.axis("axis", 1 if call.opset < 13 else -1, len(shape))
            _require_whole(call, math.prod(shape[axis:]) if call.opset < 13 else shape[axis], shape)
        if kind == "argmax":
            raise call.error("follows ArgMax")
        kind = KINDS[node.operator]
    return Ending(kind, shape)


def _require_whole(call: NodeCall, n: int, shape: tuple[int, ...]) -> None:
    """Refuse what goes along a part of the values of an instance."""
    if n != math.prod(shape):
        raise call.error(f"goes along {n} of the {math.prod(shape)} values of an instance; all are needed")
