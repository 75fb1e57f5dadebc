"""Says what an importer has made of a graph: which node became which layers, how many entries, what is carried along."""

from __future__ import annotations

from dataclasses import dataclass

ENTRY_BYTES, NEURON_BYTES = 8, 12
"""Memory of a layer in a `Network`: an int32 and a float32 a connection; an int64 and a float32 an output."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer that was made.

    Attributes
    ----------
    number : int
        From 1.
    node, operator : str
        Of the node that the layer was made for.
    n_inputs, n_outputs : int
    entries : int
        Connections; in a dry run at most so many.
    carried : int
        How many of the outputs only carry values of the layer before to a later one.
    activation : str
    """

    number: int
    node: str
    operator: str
    n_inputs: int
    n_outputs: int
    entries: int
    carried: int
    activation: str


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node of the graph, and the numbers of the layers that it ended in; linear nodes share a layer with what follows."""

    node: str
    operator: str
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The report of an import: nodes and layers, in order; `exact` is false in a dry run, whose entries are bounds."""

    nodes: tuple[NodeReport, ...] = ()
    layers: tuple[LayerReport, ...] = ()
    exact: bool = True

    @property
    def entries(self) -> int:
        """Connections of all layers."""
        return sum(layer.entries for layer in self.layers)

    @property
    def n_bytes(self) -> int:
        """Bytes of all layers in a `Network`."""
        return sum(ENTRY_BYTES * layer.entries + NEURON_BYTES * layer.n_outputs for layer in self.layers)

    def __str__(self) -> str:
        """Say it in a line for each layer, and one for all."""
        lines = [
            f"layer {layer.number}: {layer.operator} {layer.node}: {layer.n_inputs} -> {layer.n_outputs}, {layer.entries:,} "
            f"entries, {layer.activation}" + (f", {layer.carried} carried" if layer.carried else "")
            for layer in self.layers
        ]
        bound = "" if self.exact else "at most "
        return "\n".join([*lines, f"{len(self.layers)} layers, {bound}{self.entries:,} entries, {bound}{self.n_bytes:,} bytes"])
