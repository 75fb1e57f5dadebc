"""Saves a model in one file, safetensors with a JSON header, and loads it again to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError, OptionTypeError, SparseDnnError, StorageError
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.saved_header import VERSION, SavedHeader, activation_of, fields_of, header_of
from sparsednn.network import Activation, Layer, Network
from sparsednn.system.files import atomic_path
from sparsednn.system.json_fields import from_json, to_json
from sparsednn.system.memory import require

KEY = "sparsednn"
"""Key of the header in the metadata of the file."""

ARRAYS = {name: np.dtype(kind) for name, kind in (("indptr", "i8"), ("indices", "i4"), ("values", "f4"), ("bias", "f4"))}
"""Arrays of each layer, with their types."""

TABLE = "activation"
"""Array of a layer whose neurons have activations of their own: float32 (n_outputs, 4), as `Activation.table`."""


def save_model(model: ModelDescription, path: str | Path) -> None:
    """Write a model to one file, whole or not at all; see `Model.save`."""
    from safetensors.numpy import save_file

    target = _path_of(path)
    if target.is_dir():
        raise StorageError(f"{target}: is a folder; a model is saved in one file, as DIR/NAME.safetensors")
    arrays = {
        f"layers.{number}.{name}": np.ascontiguousarray(getattr(layer.expanded(), name))
        for number, layer in enumerate(model.network.layers)
        for name in ARRAYS
    }
    tables = {f"layers.{number}.{TABLE}": layer.activation.neurons for number, layer in enumerate(model.network.layers)}
    arrays |= {name: np.ascontiguousarray(table) for name, table in tables.items() if table is not None}
    header = json.dumps(to_json(header_of(model)), allow_nan=False)
    try:
        with atomic_path(target) as temporary:
            save_file(arrays, temporary, metadata={KEY: header})
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror or error}") from error


def load_fields(path: str | Path) -> dict[str, Any]:
    """Return the fields of the model that a file has; see `sparsednn.load_model`."""
    source = _path_of(path)
    if source.is_dir():
        raise DataError(
            f"{source}: is a folder; sparsednn.load reads that of a packed network, load_model the one file of Model.save"
        )
    if not source.is_file():
        raise MissingFileError(f"{source}: no such file")
    header, arrays = _content(source)
    try:
        layers, n_inputs = [], header.n_inputs
        for number, saved in enumerate(header.activations):
            table = _table(number, arrays) if saved.per_neuron else None
            layers.append(_layer(number, n_inputs, activation_of(saved, table), arrays))
            n_inputs = layers[-1].n_outputs
        if arrays:
            raise DataError(f"holds {sorted(arrays)[0]!r}, which no layer has")
        return {"network": Network.from_layers(layers, header.bias_on), **fields_of(header)}  # type: ignore[arg-type]
    except SparseDnnError as error:
        raise DataError(f"{source}: {error}") from error


def _path_of(path: Any) -> Path:
    if not isinstance(path, str | Path):
        raise OptionTypeError(f"path: the path of a file is needed, not {type(path).__name__}")
    return Path(path)


def _content(source: Path) -> tuple[SavedHeader, dict[str, NDArray[Any]]]:
    """Return the header and all arrays of a file."""
    from safetensors import SafetensorError, safe_open

    require(2 * source.stat().st_size, f"{source}", "load it where there is more memory")
    try:
        with safe_open(source, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise DataError(f"{source}: is no model that Model.save has written; from_onnx and its like read other files")
            header = _header(source, text)
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, OSError) as error:
        if isinstance(error, SparseDnnError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: no saved model, or a damaged one: {reason}") from error


def _header(source: Path, text: str) -> SavedHeader:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: its header is no JSON: {error}") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        raise DataError(f"{source}: has version {version!r} of the layout of saved models; this program reads {VERSION}")
    try:
        return from_json(SavedHeader, values)
    except DataError as error:
        raise DataError(f"{source}: in its header, {error}") from error


def _table(number: int, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return what each neuron of a layer has."""
    table = arrays.pop(f"layers.{number}.{TABLE}", None)
    if table is None or table.dtype != np.float32 or table.ndim != 2 or table.shape[1] != 4:
        raise DataError(f"layer {number + 1} has no activations of its neurons; float32 of the shape (n_outputs, 4) is needed")
    return table


def _layer(number: int, n_inputs: int, activation: Activation, arrays: dict[str, NDArray[Any]]) -> Layer:
    """Return a layer of its arrays; compiled code follows its indices, so that all are checked."""
    found = {}
    for name, dtype in ARRAYS.items():
        array = arrays.pop(f"layers.{number}.{name}", None)
        if array is None or array.dtype != dtype or array.ndim != 1:
            shown = "lacks" if array is None else f"has {array.dtype} of {array.ndim} axes for"
            raise DataError(f"layer {number + 1} {shown} its {name}; {dtype} of one axis is needed")
        found[name] = array
    indptr, indices, values, bias = found.values()
    n_outputs = len(bias)
    activation.require_outputs(n_outputs, f"layer {number + 1}: activation", same=False)
    wrong = f"layer {number + 1}: its arrays do not go together"
    if len(indptr) != n_outputs + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise DataError(f"{wrong}: indptr does not count up from 0 for {n_outputs} outputs")
    if not indptr[-1] == len(indices) == len(values):
        raise DataError(f"{wrong}: {len(indices)} indices and {len(values)} values, but {indptr[-1]} connections")
    ascending = np.diff(indices.astype(np.int64)) > 0
    ascending[indptr[1:-1][(indptr[1:-1] > 0) & (indptr[1:-1] < len(indices))] - 1] = True  # where an output begins
    if len(indices) and (indices.min() < 0 or indices.max() >= n_inputs or not ascending.all()):
        raise DataError(f"{wrong}: indices are not ascending from 0 to {n_inputs - 1} for each output")
    if not np.isfinite(values).all() or not values.all() or not np.isfinite(bias).all():
        raise DataError(f"layer {number + 1}: a weight is zero, or something is not finite")
    return Layer(n_inputs, n_outputs, indptr, indices, values, bias, activation)
