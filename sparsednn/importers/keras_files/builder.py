"""Builds the ONNX graph of a Keras model: nodes are named by the layer that they are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.importers.onnx_graph.graph import GraphNode
from sparsednn.importers.onnx_graph.tensors import shown

LARGEST = 2**31 - 1
"""The largest size, slope or limit of a layer; a larger one is damage."""


@dataclass(frozen=True, slots=True, eq=False)
class KerasLayer:
    """One layer of a file: its name, class, configuration and arrays."""

    file: str
    name: str
    kind: str
    config: dict[str, Any]
    weights: list[NDArray[Any]]

    def error(self, text: str) -> DataError:
        """Return an error that names the layer."""
        return DataError(f"{self.file}: layer {shown(self.name)} ({shown(self.kind)[1:-1]}): {text}")

    def array(self, number: int, n_axes: int, what: str) -> NDArray[np.float32]:
        """Return one of the arrays."""
        if number >= len(self.weights) or self.weights[number].ndim != n_axes:
            raise self.error(f"has no {what} of {n_axes} axes")
        return self.weights[number].astype(np.float32)

    def number(self, name: str, default: float = 0.0) -> float:
        """Return an entry of the configuration that is a number; null is the default."""
        value = self.config.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            raise self.error(f"{name} is no number, or too large")
        return float(value)

    def integers(self, name: str, n: int, default: Any = 1) -> list[int]:
        """Return an entry of the configuration that is `n` whole numbers, or one for all."""
        value = self.config.get(name)
        value = default if value is None else value
        values = list(value) if isinstance(value, list | tuple) else [value] * n
        if len(values) != n or any(isinstance(one, bool) or not isinstance(one, int) or abs(one) > LARGEST for one in values):
            raise self.error(f"{name} is not {n} whole numbers that an axis can have")
        return values

    @property
    def channels_first(self) -> bool:
        """Whether channels come before the places in an image."""
        layout = self.config.get("data_format")
        if layout not in (None, "channels_last", "channels_first"):
            raise self.error("its data_format is neither channels_last nor channels_first")
        return layout == "channels_first"


@dataclass(slots=True)
class GraphBuilder:
    """The graph so far; `ranks` has the number of axes of each tensor, with that of the batch."""

    nodes: list[GraphNode] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)

    def node(self, layer: KerasLayer, operator: str, inputs: list[str], rank: int | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output, whose rank is that of the first input unless it is given."""
        output = f"{layer.name}/{operator}:{len(self.nodes)}"
        self.nodes.append(GraphNode(f"{layer.name}/{operator}", operator, tuple(inputs), (output,), attributes))
        self.ranks[output] = self.ranks[inputs[0]] if rank is None else rank
        return output

    def constant(self, layer: KerasLayer, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant; return its name."""
        name = f"{layer.name}/constant:{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def turned(self, layer: KerasLayer, x: str, first: bool) -> str:
        """Bring the channels of an image, which come last, before the places; or back."""
        rank = self.ranks[x]
        order = [0, rank - 1, *range(1, rank - 1)] if first else [0, *range(2, rank), 1]
        return self.node(layer, "Transpose", [x], perm=order)
