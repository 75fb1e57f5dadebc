"""Gives an operator what it needs of its node: tensors, constants and attributes, checked by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.importers.lowering import Lowering, Traced
from sparsednn.importers.onnx_graph.graph import GraphNode
from sparsednn.importers.onnx_graph.tensors import shown

LARGEST_AXIS = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False)
class NodeCall:
    """One node, as its operator sees it.

    Attributes
    ----------
    file : str
    node : GraphNode
    opset : int
    lowering : Lowering
    inputs : tuple
        Each a `Traced` tensor, a constant array, or None if it is left out.
    mixes_instances : bool
        Whether axis 0 has the instances of a batch, so that nothing may add up or cut along it.
    """

    file: str
    node: GraphNode
    opset: int
    lowering: Lowering
    inputs: tuple[Traced | NDArray[Any] | None, ...]
    batched: bool
    file_batch: int | None

    def error(self, text: str) -> DataError:
        """Return an error that names the node."""
        return DataError(f"{self.file}: {self.node}: {text}")

    def given(self, number: int) -> bool:
        """Return whether an input is there."""
        return number < len(self.inputs) and self.inputs[number] is not None

    def tensor(self, number: int) -> Traced:
        """Return an input that must come from the network's input."""
        value = self.inputs[number] if number < len(self.inputs) else None
        if not isinstance(value, Traced):
            raise self.error(f"input {number} is {'left out' if value is None else 'a constant'}, where activations are needed")
        return value

    def constant(self, number: int, what: str) -> NDArray[Any] | None:
        """Return an input that must be a constant, or None if it is left out."""
        value = self.inputs[number] if number < len(self.inputs) else None
        if isinstance(value, Traced):
            name = shown(self.node.inputs[number])
            raise self.error(f"{what} {name} depends on the input; a constant is needed: layers have fixed weights")
        return value

    def finite(self, number: int, what: str) -> NDArray[np.float64]:
        """Return a constant input as float64, without NaN and infinite values."""
        array = self.constant(number, what)
        if array is None:
            raise self.error(f"{what} is left out")
        return self.checked(array, f"{what} {shown(self.node.inputs[number])}")

    def checked(self, array: NDArray[Any], what: str) -> NDArray[np.float64]:
        """Return an array as float64; refuse it by name if it holds what is not finite, or no numbers."""
        try:
            values = array.astype(np.float64)
        except (TypeError, ValueError):
            raise self.error(f"{what} holds {array.dtype}, no numbers") from None
        if not np.isfinite(values).all():
            bad = np.unravel_index(int(np.flatnonzero(~np.isfinite(values).reshape(-1))[0]), values.shape or (1,))
            raise self.error(f"{what} is {values.reshape(-1)[~np.isfinite(values).reshape(-1)][0]} at {[int(i) for i in bad]}")
        return values

    def whole(self, number: int, what: str) -> list[int] | None:
        """Return a constant input of whole numbers, or None if it is left out."""
        array = self.constant(number, what)
        if array is None:
            return None
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise self.error(f"{what} {shown(self.node.inputs[number])} is no list of whole numbers")
        return [int(value) for value in array.reshape(-1)]

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.error(f"attribute {name} is no whole number")
        return value

    def integers(self, name: str) -> list[int] | None:
        """Return an attribute that is a list of whole numbers, or None if it is not there."""
        value = self.node.attributes.get(name)
        if value is None:
            return None
        if isinstance(value, int | float | str | np.ndarray) or any(not isinstance(number, int) for number in value):
            raise self.error(f"attribute {name} is no list of whole numbers")
        if any(abs(number) > LARGEST_AXIS and number > 0 for number in value) and name != "ends":
            raise self.error(f"attribute {name}={list(value)}: too large")
        return [int(number) for number in value]

    def number(self, name: str, default: float) -> float:
        """Return an attribute that is a finite number."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise self.error(f"attribute {name}={value} is no finite number")
        return float(value)

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is text."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, str):
            raise self.error(f"attribute {name} is no text")
        return value

    def axes(self, given: list[int] | None, rank: int) -> tuple[int, ...] | None:
        """Return axes counted from 0, each once."""
        if given is None:
            return None
        if any(not -rank <= axis < rank for axis in given) or len({axis % rank for axis in given}) != len(given):
            raise self.error(f"axes {given} do not fit a tensor of {rank} axes")
        return tuple(axis % rank for axis in given)

    def axis(self, name: str, default: int, rank: int) -> int:
        """Return an attribute that is an axis, counted from 0."""
        [axis] = self.axes([self.integer(name, default)], rank) or (0,)
        return axis

    def require_within_instance(self, axis: int, does: str) -> None:
        """Refuse what goes along the axis of the batch, if the file's batches can have several instances."""
        if axis == 0 and self.batched and self.file_batch != 1:
            raise self.error(f"{does} axis 0, along the batch: an instance's output would depend on others")


Operator = Callable[[NodeCall], Traced]
"""Lowers one node."""
