"""Imports models of Keras, Sequential and Functional: layers become the nodes of an ONNX graph, and that is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsednn.errors import DataError
from sparsednn.importers.keras_files.archive import KerasArchive
from sparsednn.importers.keras_files.builder import LARGEST, GraphBuilder, KerasLayer
from sparsednn.importers.keras_files.layers import LAYERS
from sparsednn.importers.model import Model
from sparsednn.importers.onnx_files import from_onnx
from sparsednn.importers.onnx_graph.build import onnx_bytes
from sparsednn.importers.onnx_graph.tensors import shown

HISTORY = 3
"""A tensor of Keras is named by its layer, which call of that made it, and which output of the call it is."""

Tensor = tuple[str, int]
"""Layer, and number of the call."""


def from_keras(path: str | Path) -> Model:
    """Import a feed-forward model that Keras has saved as .keras or .h5.

    The file is read without Keras: layers are known by their classes, and no code that a file may hold (Lambda, custom
    objects) is ever run.

    Parameters
    ----------
    path : path of a file

    Returns
    -------
    Model
        Its `source` is the graph, so that `Model.check` compares with onnx.reference.

    Raises
    ------
    ImportError
        If h5py or onnx is not installed (extra ``keras``).
    FileNotFoundError, ValueError, TypeError, MemoryError
        If the file is malformed, or a layer cannot be had; the message names the layer, its class, and what would do.
    """
    with KerasArchive(path) as archive:
        model, config = archive.model, archive.model["config"]
        entries = config.get("layers")
        if model.get("class_name") not in ("Sequential", "Functional", "Model") or not isinstance(entries, list) or not entries:
            kind = shown(str(model.get("class_name")))
            raise DataError(
                f"{archive.name}: is a {kind} without layers of its own; Sequential and Functional models are known"
            )
        layers = _layers(archive, entries)
    calls, output = _sequence(layers) if model["class_name"] == "Sequential" else _functional(archive.name, entries, config)
    builder, shape = GraphBuilder(), _input_shape(archive.name, entries, model)
    builder.ranks["input"] = len(shape) + 1
    made = _built(archive.name, builder, {layer.name: layer for layer in layers}, calls)
    if output not in made:
        raise DataError(f"{archive.name}: no layer makes the output, {shown(output[0])}")
    imported = from_onnx(onnx_bytes(builder.nodes, builder.constants, shape, made[output]))
    return replace(imported, provenance=replace(imported.provenance, file=archive.name))


def _layers(archive: KerasArchive, entries: list[Any]) -> list[KerasLayer]:
    """Return all layers with their arrays; refuse what is no layer of Keras before any array is read."""
    names: list[tuple[str, str]] = []
    for entry in entries:
        config = entry.get("config") if isinstance(entry, dict) else None
        if not isinstance(config, dict) or not isinstance(entry.get("class_name"), str):
            raise DataError(f"{archive.name}: its configuration has a layer that is none")
        name = entry.get("name", config.get("name"))
        layer = KerasLayer(archive.name, str(name), entry["class_name"], config, [])
        own = entry.get("module") in (None, "keras.layers") and entry.get("registered_name") in (None, layer.kind)
        if layer.kind == "Lambda" or not own:
            raise layer.error("runs code of its own, which is never run here; replace it by layers of Keras, and save again")
        if layer.kind != "InputLayer" and layer.kind not in LAYERS:
            raise layer.error(f"there is nothing for this layer; those that can be had are {', '.join(sorted(LAYERS))}")
        names.append((layer.name, layer.kind))
    if len({name for name, _ in names}) != len(names):
        raise DataError(f"{archive.name}: two layers have one name")
    arrays = archive.weights(names)
    return [
        KerasLayer(archive.name, name, kind, entry["config"], some)
        for (name, kind), entry, some in zip(names, entries, arrays, strict=True)
    ]


Calls = list[tuple[Tensor, list[Tensor]]]
"""Calls of one layer: the output of each, and its inputs."""


def _sequence(layers: list[KerasLayer]) -> tuple[Calls, Tensor]:
    calls: Calls = []
    before: Tensor = ("", 0)
    for layer in layers:
        if layer.kind == "InputLayer":
            continue
        calls.append(((layer.name, 0), [before]))
        before = (layer.name, 0)
    return calls, before


def _functional(file: str, entries: list[Any], config: dict[str, Any]) -> tuple[Calls, Tensor]:
    ends = {}
    for kind in ("input_layers", "output_layers"):
        given = config.get(kind)
        found = list(_tensors([given] if isinstance(given, list) and given and isinstance(given[0], str) else given))
        if len(found) != 1:
            raise DataError(f"{file}: has {len(found)} of its {kind}; a model of one is needed")
        ends[kind] = found[0]
    calls: Calls = []
    for entry in entries:
        name = str(entry.get("name", entry["config"].get("name")))
        inbound = entry.get("inbound_nodes")
        for number, call in enumerate(inbound if isinstance(inbound, list) else []):
            inputs = list(_tensors(call.get("args") if isinstance(call, dict) else call))
            if isinstance(call, dict) and list(_tensors(call.get("kwargs"))):
                raise DataError(f"{file}: layer {shown(name)}: takes tensors by name, which is not known")
            calls.append(((name, number), [("", 0) if one == ends["input_layers"] else one for one in inputs]))
    return calls, ends["output_layers"]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors that a part of a configuration names, in the way of Keras 3 or 2."""
    if isinstance(value, dict):
        config = value.get("config")
        if value.get("class_name") == "__keras_tensor__" and isinstance(config, dict):
            yield from _tensors([config.get("keras_history")])
        else:
            yield from _tensors(list(value.values()))
    elif isinstance(value, list):
        if len(value) >= HISTORY and isinstance(value[0], str) and isinstance(value[1], int):
            yield value[0], value[1]
        else:
            for one in value:
                yield from _tensors(one)


def _input_shape(file: str, entries: list[Any], model: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of one instance."""
    places = [entry["config"] for entry in entries if entry["class_name"] == "InputLayer"] or [entries[0]["config"]]
    given: Any = places[0].get("batch_shape", places[0].get("batch_input_shape", model["config"].get("build_input_shape")))
    sizes = given[1:] if isinstance(given, list) else []
    if not sizes or any(type(size) is not int or not 1 <= size <= LARGEST for size in sizes):
        raise DataError(
            f"{file}: the shape of its input is {str(given)[:60]}; save the model with a fixed one, as Input((28, 28, 1))"
        )
    return tuple(sizes)


def _built(file: str, builder: GraphBuilder, layers: dict[str, KerasLayer], calls: Calls) -> dict[Tensor, str]:
    """Add the nodes of all calls, each as soon as its inputs are there; return what they have made."""
    made: dict[Tensor, str] = {("", 0): "input"}
    left = calls
    while left:
        ready = [call for call in left if all(one in made for one in call[1])]
        if not ready:
            raise DataError(
                f"{file}: layer {shown(left[0][0][0])}: its inputs are made by no layer before: a circle, or damaged"
            )
        for output, inputs in ready:
            layer = layers[output[0]]
            if not inputs:
                raise layer.error("has no input")
            made[output] = (
                LAYERS[layer.kind](builder, layer, [made[one] for one in inputs]) if layer.kind in LAYERS else "input"
            )
        left = [call for call in left if call[0] not in made]
    return made
