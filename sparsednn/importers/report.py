"""Says what an importer has made of a graph: which node became which layers, how many entries, what is carried along."""

from __future__ import annotations

from dataclasses import dataclass

ENTRY_BYTES, NEURON_BYTES = 8, 12
"""Memory of a layer in a `Network`: an int32 and a float32 for each connection that is stored; and for each output a float32,
and an int64 or two int32."""


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
    stored : int, optional
        Connections that are stored, where templates are stored once (see `sparsednn.network.ShiftedLayer`); in a dry run about
        so many. None: all.
    """

    number: int
    node: str
    operator: str
    n_inputs: int
    n_outputs: int
    entries: int
    carried: int
    activation: str
    stored: int | None = None

    @property
    def n_stored(self) -> int:
        """Connections that are stored."""
        return self.entries if self.stored is None else self.stored


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
    def n_stored(self) -> int:
        """Connections that are stored of all layers."""
        return sum(layer.n_stored for layer in self.layers)

    @property
    def n_bytes(self) -> int:
        """Bytes of all layers in a `Network`, if every connection were stored."""
        return sum(ENTRY_BYTES * layer.entries + NEURON_BYTES * layer.n_outputs for layer in self.layers)

    @property
    def stored_bytes(self) -> int:
        """Bytes of all layers in a `Network`, as they are stored."""
        return sum(ENTRY_BYTES * layer.n_stored + NEURON_BYTES * layer.n_outputs for layer in self.layers)

    def __str__(self) -> str:
        """Say it in a line for each layer, and one for all."""
        about, bound = ("", "") if self.exact else ("about ", "at most ")
        lines = []
        for layer in self.layers:
            once = "" if layer.n_stored == layer.entries else f" ({about}{layer.n_stored:,} stored)"
            carried = f", {layer.carried} carried" if layer.carried else ""
            sizes = f"{layer.n_inputs} -> {layer.n_outputs}, {layer.entries:,} entries{once}"
            lines.append(f"layer {layer.number}: {layer.operator} {layer.node}: {sizes}, {layer.activation}{carried}")
        total = f"{len(self.layers)} layers, {bound}{self.entries:,} entries, {bound}{self.n_bytes:,} bytes"
        if self.n_stored != self.entries:
            total += f"; with convolutions stored once {about}{self.n_stored:,} entries, {about}{self.stored_bytes:,} bytes"
        return "\n".join([*lines, total])
