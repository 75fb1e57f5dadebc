"""Owns models: networks as files of other programs have them, imported, compiled, asked and saved."""

from __future__ import annotations

from sparsednn.importers.accuracy import Accuracy
from sparsednn.importers.check import ModelCheck
from sparsednn.importers.compiled import CompiledModel
from sparsednn.importers.description import Provenance
from sparsednn.importers.from_onnx import from_onnx
from sparsednn.importers.model import Model, load_model
from sparsednn.importers.preprocessing import Preprocessing
from sparsednn.importers.report import ImportReport, LayerReport, NodeReport

__all__ = [
    "Accuracy",
    "CompiledModel",
    "ImportReport",
    "LayerReport",
    "Model",
    "ModelCheck",
    "NodeReport",
    "Preprocessing",
    "Provenance",
    "from_onnx",
    "load_model",
]
