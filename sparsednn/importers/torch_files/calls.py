"""Gives an operator of PyTorch what it needs of its call, by the names of arguments, and takes the ONNX nodes it becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.importers.onnx_graph.graph import GraphNode
from sparsednn.importers.onnx_graph.tensors import shown


@dataclass(slots=True)
class TorchGraph:
    """The graph so far.

    Attributes
    ----------
    file : str
    sizes : dict
        Sizes of each tensor of the program; None where one is symbolic.
    names : dict
        Name in the ONNX graph of each tensor of the program that was made.
    varying : set of str
        Names, in the ONNX graph, of what depends on the input.
    """

    file: str
    sizes: Mapping[str, Sequence[int | None]]
    names: dict[str, str] = field(default_factory=dict)
    nodes: list[GraphNode] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class TorchCall:
    """One node of a program: its name, its operator as ``linear``, its arguments, and the first tensor that it makes."""

    graph: TorchGraph
    name: str
    operator: str
    arguments: Mapping[str, Mapping[str, Any]]
    output: str

    def error(self, text: str) -> DataError:
        """Return an error that names the node."""
        return DataError(f"{self.graph.file}: node {shown(self.name)} ({self.operator}): {text}")

    def has(self, name: str) -> bool:
        """Return whether an argument is given, and not None."""
        return name in self.arguments and "as_none" not in self.arguments[name]

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = f"{self.name}:{len(self.graph.nodes)}"
        self.graph.nodes.append(GraphNode(self.name, operator, inputs, (output,), attributes))
        if self.graph.varying & set(inputs):
            self.graph.varying.add(output)
        return output

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant; return its name."""
        name = f"{self.name}:constant:{len(self.graph.constants)}"
        self.graph.constants[name] = np.asarray(values, dtype)
        return name

    def tensor(self, *names: str) -> str:
        """Return the name, in the ONNX graph, of the tensor that the first given of some arguments is."""
        for name in names:
            if self.has(name):
                return self._made(self.arguments[name]["as_tensor"]["name"])
        raise self.error(f"has no tensor {' or '.join(names)}")

    def tensors(self, name: str) -> list[str]:
        """Return the names of a list of tensors."""
        return [self._made(one["name"]) for one in self.arguments[name]["as_tensors"]]

    def operand(self, name: str) -> str:
        """Return the name of a tensor, or of the constant that a number becomes."""
        return self.tensor(name) if "as_tensor" in self.arguments[name] else self.constant(self.number(name))

    def size(self, *names: str) -> Sequence[int | None]:
        """Return the sizes of an argument; the first is None if it is the batch's, which may have any."""
        for name in names:
            if self.has(name):
                return self.graph.sizes[self.arguments[name]["as_tensor"]["name"]]
        raise self.error(f"has no tensor {' or '.join(names)}")

    @property
    def out_size(self) -> Sequence[int | None]:
        """The sizes of what it makes."""
        return self.graph.sizes[self.output]

    def number(self, name: str, default: float | None = None) -> float:
        """Return an argument that is a finite number."""
        if not self.has(name) and default is not None:
            return default
        given = self.arguments.get(name, {})
        value = given.get("as_float", given.get("as_int"))
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(f"{name} is no finite number")
        return float(value)

    def integer(self, name: str, default: int) -> int:
        """Return an argument that is a whole number."""
        return int(self.integers(name, [default])[0])

    def integers(self, name: str, default: Sequence[int]) -> list[int]:
        """Return an argument that is a list of whole numbers, or one."""
        given = self.arguments.get(name)
        if given is None or "as_none" in given:
            return list(default)
        values = [given["as_int"]] if "as_int" in given else given.get("as_ints", [None])
        if any(type(value) is not int for value in values):
            raise self.error(f"{name} is no list of whole numbers that the program fixes")
        return list(values) or list(default)

    def each(self, name: str, n: int, default: Sequence[int]) -> list[int]:
        """Return a list of `n` whole numbers, one for each axis; one that is given alone is for all."""
        values = self.integers(name, default)
        return values * n if len(values) == 1 else values

    def flag(self, name: str, default: bool) -> bool:
        """Return an argument that is true or false."""
        return bool(self.arguments[name]["as_bool"]) if self.has(name) else default

    def text(self, name: str, default: str) -> str:
        """Return an argument that is text."""
        return str(self.arguments[name]["as_string"]) if self.has(name) else default

    def _made(self, name: str) -> str:
        if name not in self.graph.names:
            raise self.error(f"takes {shown(name)}, which no node before it makes")
        return self.graph.names[name]
