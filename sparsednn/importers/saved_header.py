"""Declares the JSON header of a saved model: what it says besides the arrays."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsednn.importers.description import ModelDescription, Provenance
from sparsednn.importers.preprocessing import Preprocessing
from sparsednn.importers.report import ImportReport, LayerReport, NodeReport
from sparsednn.network import Activation
from sparsednn.system.json_fields import JsonPart, Part, declared, doc, json_part

VERSION, READABLE = 2, (1, 2)
"""Raised whenever a field or an array changes its meaning; and those that are read. Since 2 a layer may have templates."""

Made = TypeVar("Made")


@json_part
class SavedActivation(JsonPart):
    """An activation."""

    name: str = field(metadata=doc("its name"))
    low: float | None = field(metadata=doc("smallest activation; null: no limit"))
    high: float | None = field(metadata=doc("largest activation; null: no limit"))
    slope: float = field(metadata=doc("of negative sums"))
    function: str = field(metadata=doc("a smooth function, or none"))
    per_neuron: bool = field(metadata=doc("whether the file has an array with what each neuron has"))


@json_part
class SavedPreprocessing(JsonPart):
    """The preprocessing of inputs; see `Preprocessing`."""

    scale: float = field(metadata=doc("pixels are divided by it"))
    mean: list[float] = field(metadata=doc("is subtracted then, one or one for each channel"))
    std: list[float] = field(metadata=doc("divides then, one or one for each channel"))
    layout: str = field(metadata=doc("order of an image's axes: as_is, hwc or chw"))


@json_part
class SavedProvenance(JsonPart):
    """Where the model comes from."""

    file: str | None = field(metadata=doc("the file's path as it was given"))
    sha256: str | None = field(metadata=doc("of the file"))
    weights: int | None = field(metadata=doc("numbers in its weights, before convolutions are unrolled"))
    nonzero_weights: int | None = field(metadata=doc("those that are not zero"))


@json_part
class SavedLayerReport(JsonPart):
    """One layer that an importer made."""

    number: int = field(metadata=doc("from 1"))
    node: str = field(metadata=doc("the node that it was made for"))
    operator: str = field(metadata=doc("that node's operator"))
    n_inputs: int = field(metadata=doc("neurons before"))
    n_outputs: int = field(metadata=doc("neurons after"))
    entries: int = field(metadata=doc("connections"))
    carried: int = field(metadata=doc("outputs that only carry values of the layer before"))
    activation: str = field(metadata=doc("its name"))
    stored: int | None = field(
        default=None, metadata=doc("connections that are stored", when="columns that repeat at an offset are stored once")
    )


@json_part
class SavedNodeReport(JsonPart):
    """One node of the graph."""

    node: str = field(metadata=doc("its name"))
    operator: str = field(metadata=doc("its operator"))
    layers: list[int] = field(metadata=doc("numbers of the layers that it ended in"))


@json_part
class SavedReport(JsonPart):
    """The report of an import; see `ImportReport`."""

    exact: bool = field(metadata=doc("whether entries are counted, not bounded"))
    nodes: list[SavedNodeReport] = field(metadata=doc("all nodes, in order"))
    layers: list[SavedLayerReport] = field(metadata=doc("all layers, in order"))


@json_part
class SavedHeader(JsonPart):
    """All that a saved model is, but for the arrays of its layers."""

    version: int = field(metadata=doc("of this layout"))
    bias_on: str = field(metadata=doc("where biases are added: nonzero or all"))
    n_inputs: int = field(metadata=doc("neurons of the input"))
    activations: list[SavedActivation] = field(metadata=doc("one for each layer"))
    input_name: str = field(metadata=doc("name of the input"))
    output_name: str = field(metadata=doc("name of the output"))
    input_shape: list[int] = field(metadata=doc("shape of one instance"))
    output_shape: list[int] = field(metadata=doc("shape of one instance's output"))
    preprocessing: SavedPreprocessing | None = field(metadata=doc("what is done to inputs; null: nothing was said"))
    postprocess: str = field(metadata=doc("what follows the last layer: none, softmax, sigmoid, logsoftmax or argmax"))
    class_names: list[str] = field(metadata=doc("a name for each class, or none"))
    provenance: SavedProvenance = field(metadata=doc("where it comes from"))
    report: SavedReport = field(metadata=doc("what an importer made of its file"))


def header_of(model: ModelDescription) -> SavedHeader:
    """Return the header of a model."""
    report = model.report
    return SavedHeader(
        version=VERSION,
        bias_on=model.network.bias_on,
        n_inputs=model.network.n_inputs,
        activations=[_saved_activation(layer.activation) for layer in model.network.layers],
        input_name=model.input_name,
        output_name=model.output_name,
        input_shape=list(model.in_shape),
        output_shape=list(model.out_shape),
        preprocessing=None if model.preprocessing is None else _part(SavedPreprocessing, model.preprocessing),
        postprocess=model.postprocess,
        class_names=list(model.class_names),
        provenance=_part(SavedProvenance, model.provenance),
        report=SavedReport(
            exact=report.exact,
            nodes=[_part(SavedNodeReport, node) for node in report.nodes],
            layers=[_part(SavedLayerReport, layer) for layer in report.layers],
        ),
    )


def activation_of(saved: SavedActivation, table: NDArray[np.float32] | None) -> Activation:
    """Return an activation; table : float32 (n_outputs, 4), what each neuron has, or None.

    Raises
    ------
    ValueError
        If its limits, slope or functions are none.
    """
    if table is None:
        low = -math.inf if saved.low is None else saved.low
        return Activation(saved.name, low, math.inf if saved.high is None else saved.high, saved.slope, saved.function)
    return Activation.of_table(table, saved.name)


def fields_of(header: SavedHeader) -> dict[str, Any]:
    """Return what a model has besides its network; raises ValueError if a preprocessing makes no sense."""
    report = header.report
    return {
        "input_name": header.input_name,
        "output_name": header.output_name,
        "input_shape": tuple(header.input_shape),
        "output_shape": tuple(header.output_shape),
        "preprocessing": None if header.preprocessing is None else _made(Preprocessing, header.preprocessing),
        "postprocess": header.postprocess,
        "class_names": tuple(header.class_names),
        "provenance": _made(Provenance, header.provenance),
        "report": ImportReport(
            tuple(_made(NodeReport, node) for node in report.nodes),
            tuple(_made(LayerReport, layer) for layer in report.layers),
            report.exact,
        ),
    }


def _saved_activation(activation: Activation) -> SavedActivation:
    low, high = (end if math.isfinite(end) else None for end in (activation.low, activation.high))
    return SavedActivation(
        name=activation.name,
        low=low,
        high=high,
        slope=activation.slope,
        function=activation.function,
        per_neuron=activation.neurons is not None,
    )


def _part(kind: type[Part], value: Any) -> Part:
    """Return a part that has the fields of a value of the same names."""
    given: dict[str, Any] = {one.name: getattr(value, one.name) for one in declared(kind)}
    lists: dict[str, Any] = {name: list(entry) if isinstance(entry, tuple) else entry for name, entry in given.items()}
    return kind(**lists)


def _made(kind: type[Made], part: JsonPart) -> Made:
    """Return a value that has the fields of a part of the same names."""
    given = {one.name: getattr(part, one.name) for one in declared(type(part))}
    return kind(**{name: tuple(entry) if isinstance(entry, list) else entry for name, entry in given.items()})
