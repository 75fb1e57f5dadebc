"""Runs sparse deep neural networks: owns `infer`, the networks, their inputs and the results.

The public API::

    import sparsednn

    network = sparsednn.radixnet(1024, 120)
    inputs = sparsednn.challenge_inputs(1024)
    result = sparsednn.infer(network, inputs, backend="numba")
    print(len(result.categories), result.record["seconds"]["inference_median"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsednn.data.challenge_inputs import challenge_inputs
from sparsednn.data.radixnet import radixnet
from sparsednn.engine import CompiledNetwork, compile, infer, load
from sparsednn.execution.options import InferOptions
from sparsednn.network import Activation, Layer, Network, clipped_relu, gelu, identity, leaky_relu, relu, sigmoid, tanh
from sparsednn.results.result import Result

if TYPE_CHECKING:
    from sparsednn.importers import Model, from_keras, from_onnx, from_torch, load_model

__all__ = [
    "Activation",
    "CompiledNetwork",
    "InferOptions",
    "Layer",
    "Model",
    "Network",
    "Result",
    "challenge_inputs",
    "clipped_relu",
    "compile",
    "from_keras",
    "from_onnx",
    "from_torch",
    "gelu",
    "identity",
    "infer",
    "leaky_relu",
    "load",
    "load_model",
    "radixnet",
    "relu",
    "sigmoid",
    "tanh",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Return a name of the importers, which are loaded when one is asked for: other inferences have no use for them."""
    if name not in ("Model", "from_keras", "from_onnx", "from_torch", "importers", "load_model"):
        raise AttributeError(f"module 'sparsednn' has no attribute {name!r}")
    import importlib

    importers = importlib.import_module("sparsednn.importers")
    return importers if name == "importers" else getattr(importers, name)
