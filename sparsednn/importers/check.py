"""Compares imported layers with onnx.reference, node by node, and names the first that differs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.scalars import real_number
from sparsednn.engine import compile
from sparsednn.errors import DataError, OptionError
from sparsednn.importers.batches import prepared_batch
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.lowering import Lowering, Traced
from sparsednn.importers.onnx_graph.graph import OnnxGraph, arranged, read_graph
from sparsednn.importers.onnx_graph.reference import reference_values
from sparsednn.importers.onnx_graph.walk import feed_shape, walk
from sparsednn.importers.postprocessing import finish
from sparsednn.network import Network


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """The outcome of a check of imported layers against the graph; true if nothing differs.

    Attributes
    ----------
    nodes : int
        How many were compared.
    largest : float
        Largest difference of a node, relative to the largest number that it makes.
    first_node, first_operator : str, or None
        The first node that differs.
    first_difference : float
        By how much; 0 if none does.
    """

    nodes: int
    largest: float
    first_node: str | None = None
    first_operator: str | None = None
    first_difference: float = 0.0

    def __bool__(self) -> bool:
        """Return whether nothing differs."""
        return self.first_node is None

    def __str__(self) -> str:
        """Say it in a line."""
        if self.first_node is None:
            return f"{self.nodes} nodes agree with onnx.reference, within {self.largest:.1e} of the largest number of each"
        return f"node {self.first_node!r} ({self.first_operator}) is the first that differs, by {self.first_difference:.1e}"


def compare(model: ModelDescription, x: Any, tolerance: float) -> ModelCheck:
    """Compare a model with its file; see `Model.check`."""
    limit = real_number("tolerance", tolerance)
    if not 0 <= limit < math.inf:
        raise OptionError(f"tolerance={limit}: a number from 0 on is needed")
    source = model.source if model.source is not None else model.provenance.file
    if source is None:
        raise OptionError("check: this model is not of an ONNX file, so there is nothing to compare with")
    graph = read_graph(source)
    if graph.sha256 != model.provenance.sha256:
        raise DataError(f"{graph.name}: has changed since the model was imported; import it again")
    batch = prepared_batch(x, model)
    if not len(batch):
        raise DataError("x has no instances, so there is nothing to compare")
    given = model.in_shape
    shape, _ = feed_shape(graph, given)
    return _Checker(model, graph, batch, reference_values(source, graph, batch, shape), limit).run(given)


class _Checker:
    """Follows a walk through the graph, and the activations of our layers along with it."""

    def __init__(
        self,
        model: ModelDescription,
        graph: OnnxGraph,
        batch: NDArray[np.float32],
        reference: dict[str, NDArray[Any]],
        tolerance: float,
    ) -> None:
        self._model, self._graph, self._reference, self._tolerance = model, graph, reference, tolerance
        self._makers = {name: node for node in graph.nodes for name in node.outputs}
        self._state, self._n_layers = batch, 0
        self._largest, self._n_nodes = 0.0, 0
        self._first: tuple[str, str, float] | None = None

    def run(self, input_shape: tuple[int, ...]) -> ModelCheck:
        walked = walk(arranged(self._graph), input_shape, dry=False, observe=self._see)
        self._advance(walked.lowering)
        if self._model.postprocess != "argmax":  # whose ids would differ where two values are nearly equal
            output = finish(self._state, self._model.postprocess).reshape(len(self._state), -1)
            self._compare(self._graph.output_name, output)
        name, operator, difference = self._first or (None, None, 0.0)
        return ModelCheck(self._n_nodes, self._largest, name, operator, difference)

    def _see(self, name: str, lowering: Lowering, tensor: Traced) -> None:
        self._advance(lowering)
        if name in self._reference:
            matrix, constant = lowering.affine(tensor)
            self._compare(name, (matrix.csr() @ self._state.T.astype(np.float64)).T + constant)

    def _advance(self, lowering: Lowering) -> None:
        """Run our layers up to where the walk is, each by itself."""
        for number in range(self._n_layers, len(lowering.layers)):
            layers = self._model.network.layers
            made = lowering.layers[number]
            if number >= len(layers) or (layers[number].n_inputs, layers[number].n_outputs) != (made.n_inputs, made.n_outputs):
                raise DataError(f"{self._graph.name}: layer {number + 1} of the model is not the one that this file has")
            with compile(Network.from_layers([layers[number]], self._model.network.bias_on)) as compiled:
                self._state = compiled.run(self._state)
        self._n_layers = len(lowering.layers)

    def _compare(self, name: str, ours: NDArray[Any]) -> None:
        theirs = self._reference[name].astype(np.float64)
        scale = max(float(np.abs(theirs).max(initial=0)), float(np.finfo(np.float32).tiny))
        difference = float(np.abs(ours - theirs).max(initial=0)) / scale if ours.shape == theirs.shape else math.inf
        difference = math.inf if math.isnan(difference) else difference
        self._n_nodes += 1
        self._largest = max(self._largest, difference)
        if self._first is None and difference > self._tolerance:
            node = self._makers[name]
            self._first = (node.name, node.operator, difference)
