"""Owns models: networks as files of other programs have them, imported, compiled, asked and saved."""

from __future__ import annotations

from sparsednn.importers.accuracy import Accuracy
from sparsednn.importers.check import ModelCheck
from sparsednn.importers.compiled import CompiledModel
from sparsednn.importers.description import Provenance
from sparsednn.importers.keras_files import from_keras
from sparsednn.importers.model import Model, load_model
from sparsednn.importers.onnx_files import from_onnx
from sparsednn.importers.preprocessing import Preprocessing
from sparsednn.importers.profile import ModelProfile, NodeProfile
from sparsednn.importers.report import ImportReport, LayerReport, NodeReport
from sparsednn.importers.torch_modules import from_torch

__all__ = [
    "Accuracy",
    "CompiledModel",
    "ImportReport",
    "LayerReport",
    "Model",
    "ModelCheck",
    "ModelProfile",
    "NodeProfile",
    "NodeReport",
    "Preprocessing",
    "Provenance",
    "from_keras",
    "from_onnx",
    "from_torch",
    "load_model",
]
