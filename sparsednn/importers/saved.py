"""Saves a model in one file, safetensors with a JSON header, and loads it again to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError, OptionTypeError, SparseDnnError, StorageError
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.saved_header import READABLE, SavedHeader, activation_of, fields_of, header_of
from sparsednn.network import Activation, Layer, Network, ShiftedLayer
from sparsednn.system.files import atomic_path
from sparsednn.system.json_fields import from_json, to_json
from sparsednn.system.memory import require

KEY = "sparsednn"
"""Key of the header in the metadata of the file."""

ARRAYS = {"indptr": "i8", "indices": "i4", "values": "f4", "bias": "f4"}
SHIFTED = {"starts": "i8", "relative": "i4", "weights": "f4", "template": "i4", "offset": "i4", "bias": "f4"}
"""Of a layer, with their types; and of one whose templates are stored once."""

TABLE = "activation"
"""Array of a layer whose neurons have activations of their own: float32 (n_outputs, 4), as `Activation.table`."""


def save_model(model: ModelDescription, path: str | Path) -> None:
    """Write a model to one file, whole or not at all; see `Model.save`."""
    from safetensors.numpy import save_file

    target = _path_of(path)
    if target.is_dir():
        raise StorageError(f"{target}: is a folder; a model is saved in one file, as DIR/NAME.safetensors")
    arrays: dict[str, NDArray[Any]] = {}
    for number, layer in enumerate(model.network.layers):
        kept, names = (layer, SHIFTED) if isinstance(layer, ShiftedLayer) else (layer.expanded(), ARRAYS)
        arrays |= {f"layers.{number}.{name}": np.ascontiguousarray(getattr(kept, name)) for name in names}
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
    if version not in READABLE:
        readable = " and ".join(map(str, READABLE))
        raise DataError(f"{source}: has version {version!r} of the layout of saved models; this program reads {readable}")
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


def _layer(number: int, n_inputs: int, activation: Activation, arrays: dict[str, NDArray[Any]]) -> Layer | ShiftedLayer:
    """Return a layer of its arrays; compiled code follows its indices, so that all are checked."""
    found, shifted = {}, f"layers.{number}.template" in arrays
    for name, kind in (SHIFTED if shifted else ARRAYS).items():
        array, dtype = arrays.pop(f"layers.{number}.{name}", None), np.dtype(kind)
        if array is None or array.dtype != dtype or array.ndim != 1:
            shown = "lacks" if array is None else f"has {array.dtype} of {array.ndim} axes for"
            raise DataError(f"layer {number + 1} {shown} its {name}; {dtype} of one axis is needed")
        found[name] = array
    n_outputs, wrong = len(found["bias"]), f"layer {number + 1}: its arrays do not go together"
    activation.require_outputs(n_outputs, f"layer {number + 1}: activation", same=False)
    made = ShiftedLayer if shifted else Layer
    layer: Any = made(n_inputs=n_inputs, n_outputs=n_outputs, **found, activation=activation)
    columns = layer.templates() if shifted else layer
    if shifted:
        _require_places(layer, wrong)
    _require_columns(columns, wrong)
    if not np.isfinite(columns.values).all() or not columns.values.all() or not np.isfinite(layer.bias).all():
        raise DataError(f"layer {number + 1}: a weight is zero, or something is not finite")
    return layer  # type: ignore[no-any-return]


def _require_columns(layer: Layer, wrong: str) -> None:
    """Refuse columns that are none, or whose inputs do not ascend."""
    indptr, indices, values, n_outputs = layer.indptr, layer.indices, layer.values, layer.n_outputs
    if len(indptr) != n_outputs + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise DataError(f"{wrong}: indptr does not count up from 0 for {n_outputs} outputs")
    if not indptr[-1] == len(indices) == len(values):
        raise DataError(f"{wrong}: {len(indices)} indices and {len(values)} values, but {indptr[-1]} connections")
    ascending = np.diff(indices.astype(np.int64)) > 0
    ascending[indptr[1:-1][(indptr[1:-1] > 0) & (indptr[1:-1] < len(indices))] - 1] = True  # where an output begins
    if len(indices) and (indices.min() < 0 or indices.max() >= layer.n_inputs or not ascending.all()):
        raise DataError(f"{wrong}: indices are not ascending from 0 to {layer.n_inputs - 1} for each output")


def _require_places(layer: ShiftedLayer, wrong: str) -> None:
    """Refuse templates and offsets that lead outside the inputs."""
    starts, n = layer.starts, len(layer.starts) - 1
    if not len(layer.template) == len(layer.offset) == layer.n_outputs:
        raise DataError(
            f"{wrong}: {len(layer.template)} templates and {len(layer.offset)} offsets for {layer.n_outputs} outputs"
        )
    if n < 1 or not layer.n_outputs or layer.template.min() < 0 or layer.template.max() >= n:
        raise DataError(f"{wrong}: an output has none of its {n} templates")
    _require_columns(layer.templates(), wrong)
    some = np.diff(starts) > 0
    reach, first = np.zeros(n, np.int64), np.zeros(n, np.int64)
    reach[some], first[some] = layer.relative[starts[1:][some] - 1], layer.relative[starts[:-1][some]]
    if first.any() or layer.offset.min() < 0 or (layer.offset + reach[layer.template] >= layer.n_inputs).any():
        raise DataError(f"{wrong}: an offset leads outside the {layer.n_inputs} inputs, or a template does not begin at 0")
