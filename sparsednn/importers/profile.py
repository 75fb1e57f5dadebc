"""Measures where a model's time goes: for each node of its graph seconds, entries, and the share of activations that live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.scalars import whole_number
from sparsednn.engine import CompiledNetwork, compile
from sparsednn.errors import DataError
from sparsednn.importers.batches import prepared_batch
from sparsednn.importers.description import ModelDescription
from sparsednn.network import Network

MEASURED = (
    "medians of {calls} calls with {instances:,} instances, each layer compiled and called by itself: what it reads and writes "
    "is in memory, so layers may take more together than in a call of the whole network, which takes {whole:.3f} ms"
)


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """The share of one node of the graph in a call.

    Attributes
    ----------
    node, operator : str
        Of the node that the layers were made for; "layer 1", ... and "" where a model comes from no graph.
    layers : tuple of int
        Their numbers, from 1.
    seconds : float
        Of all its layers, each the median of several calls.
    entries : int
        Connections.
    alive : float
        Share of the layers' outputs, over all instances, that are not zero.
    """

    node: str
    operator: str
    layers: tuple[int, ...]
    seconds: float
    entries: int
    alive: float


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Where the time of a model goes. Its text is a table.

    Attributes
    ----------
    nodes : tuple of NodeProfile
        In the order of their first layers.
    instances, calls : int
    whole_seconds : float
        Median of calls of the whole network, without preprocessing and post-processing.
    alive : float
        Share of the inputs that are not zero.
    """

    nodes: tuple[NodeProfile, ...]
    instances: int
    calls: int
    whole_seconds: float
    alive: float

    @property
    def seconds(self) -> float:
        """Sum over the nodes."""
        return sum(node.seconds for node in self.nodes)

    @property
    def measured(self) -> str:
        """The measurement in a sentence."""
        return MEASURED.format(calls=self.calls, instances=self.instances, whole=1e3 * self.whole_seconds)

    def __str__(self) -> str:
        """Return a table with a line for each node, and what was measured below it."""
        head = ("node", "operator", "layers", "ms", "time", "entries", "alive")
        rows = [
            (
                one.node, one.operator, _range(one.layers), f"{1e3 * one.seconds:.3f}", f"{one.seconds / self.seconds:.1%}",
                f"{one.entries:,}", f"{one.alive:.1%}",
            )
            for one in self.nodes
        ]  # fmt: skip
        of_input = ("input", "", "", "", "", "", f"{self.alive:.1%}")
        entries = f"{sum(one.entries for one in self.nodes):,}"
        total = ("all", "", "", f"{1e3 * self.seconds:.3f}", "100.0%", entries, "")
        table = [head, of_input, *rows, total]
        widths = [max(len(row[column]) for row in table) for column in range(len(head))]
        lines = [
            "  ".join(text.ljust(width) if column < 3 else text.rjust(width) for column, (text, width) in enumerate(cells))
            for cells in (list(zip(row, widths, strict=True)) for row in table)
        ]
        return "\n".join([*(line.rstrip() for line in lines), self.measured])


def profile(
    model: ModelDescription, compiled: CompiledNetwork, options: Mapping[str, Any], x: Any, calls: int
) -> ModelProfile:  # fmt: skip
    """Measure a compiled model, whose options each layer is compiled with; see `CompiledModel.profile`."""
    calls = whole_number("calls", calls, 1)
    batch = prepared_batch(x, model)
    if not len(batch):
        raise DataError("profile: x has no instances; give some, as many as calls usually have")
    whole, _ = _timed(compiled, batch, calls)
    seconds, alive, activations = list[float](), list[float](), batch
    for layer in model.network.layers:
        with compile(Network.from_layers([layer], model.network.bias_on), **{**options, "batch_sizes": ()}) as alone:
            took, activations = _timed(alone, activations, calls)
        seconds.append(took)
        alive.append(_alive(activations))
    return ModelProfile(_by_node(model, seconds, alive), len(batch), calls, whole, _alive(batch))


def _timed(compiled: CompiledNetwork, x: NDArray[np.float32], calls: int) -> tuple[float, NDArray[np.float32]]:
    """Return the median of several calls, after one that packs the layers, and the activations."""
    activations: NDArray[np.float32] = compiled.run(x)
    took = []
    for _ in range(calls):
        began = perf_counter()
        compiled.run(x, activations)
        took.append(perf_counter() - began)
    return median(took), activations


def _alive(activations: NDArray[np.float32]) -> float:
    return float(np.count_nonzero(activations) / max(activations.size, 1))


def _by_node(model: ModelDescription, seconds: list[float], alive: list[float]) -> tuple[NodeProfile, ...]:
    """Join the layers of each node, whose shares of living activations count by their outputs."""
    layers, reported = model.network.layers, model.report.layers
    names = [(f"layer {number}", "") for number in range(1, len(layers) + 1)]
    if len(reported) == len(layers):
        names = [(layer.node, layer.operator) for layer in reported]
    found = []
    for name in dict.fromkeys(names):
        own = [at for at, other in enumerate(names) if other == name]
        n_outputs = sum(layers[at].n_outputs for at in own)
        found.append(
            NodeProfile(
                node=name[0],
                operator=name[1],
                layers=tuple(at + 1 for at in own),
                seconds=sum(seconds[at] for at in own),
                entries=sum(layers[at].nnz for at in own),
                alive=sum(alive[at] * layers[at].n_outputs for at in own) / max(n_outputs, 1),
            )
        )
    return tuple(found)


def _range(layers: tuple[int, ...]) -> str:
    """Return numbers of layers, as "3", "3-5" or "3,7"."""
    if len(layers) > 1 and layers[-1] - layers[0] == len(layers) - 1:
        return f"{layers[0]}-{layers[-1]}"
    return ",".join(map(str, layers))
