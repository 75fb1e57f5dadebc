"""Reads the network of a point from a model's file, with what the file says of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.config.model_rules import is_model
from experiments.config.resolve import Config
from sparsednn.network import Network
from sparsednn.results.model_record import ModelRecord

if TYPE_CHECKING:
    from sparsednn.importers.model import Model
    from sparsednn.importers.postprocessing import Postprocess
    from sparsednn.importers.preprocessing import Preprocessing

# `sparsednn.importers` is imported where a model is read: other runs need not wait for it.


@dataclass(frozen=True, slots=True)
class ModelUse:
    """How the instances come to a network, and what its outputs mean.

    Attributes
    ----------
    input_shape : tuple of int
        Of one instance.
    preprocessing : Preprocessing, or None
        As the model's file says; None: it says nothing.
    postprocess : str
        What follows the last layer.
    class_names : tuple of str
    record : ModelRecord, or None
        Of a model; None for networks that are none.
    """

    input_shape: tuple[int, ...]
    preprocessing: Preprocessing | None = None
    postprocess: Postprocess = "none"
    class_names: tuple[str, ...] = ()
    record: ModelRecord | None = None


def read_model(config: Config) -> tuple[Network, ModelUse]:
    """Read ``network.path``.

    Raises
    ------
    ImportError, FileNotFoundError, ValueError, TypeError, MemoryError
        As the importer of that kind of file does.
    """
    assert is_model(config)
    model = _imported(config.network.name, Path(str(config.network.path)), config.network.input_shape)
    provenance = model.provenance
    record = ModelRecord(
        file=str(config.network.path),
        sha256=provenance.sha256,
        input_shape=list(model.in_shape),
        postprocess=model.postprocess,
        weights=provenance.weights,
        nonzero_weights=provenance.nonzero_weights,
        sparsity=list(model.sparsity),
    )
    return model.network, ModelUse(model.in_shape, model.preprocessing, model.postprocess, model.class_names, record)


def _imported(kind: str, path: Path, input_shape: list[int] | None) -> Model:
    from sparsednn import importers

    match kind:
        case "onnx":
            return importers.from_onnx(path, input_shape)
        case "torch":
            return importers.from_torch(path)
        case "keras":
            return importers.from_keras(path)
    return importers.load_model(path)
