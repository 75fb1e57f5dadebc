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

# before all modules here: what these leave behind would have the collector look through the whole of NumPy and SciPy twice more
import numpy as _numpy  # noqa: F401
import scipy.sparse as _sparse  # noqa: F401

from sparsednn.engine import CompiledNetwork, compile, infer, load
from sparsednn.execution.options import InferOptions
from sparsednn.network import Activation, Layer, Network, clipped_relu, gelu, identity, leaky_relu, relu, sigmoid, tanh
from sparsednn.results.result import Result

if TYPE_CHECKING:
    from sparsednn.data.challenge_inputs import challenge_inputs
    from sparsednn.data.radixnet import radixnet
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


_ON_DEMAND = {
    "challenge_inputs": "sparsednn.data.challenge_inputs",
    "radixnet": "sparsednn.data.radixnet",
    **dict.fromkeys(("Model", "from_keras", "from_onnx", "from_torch", "importers", "load_model"), "sparsednn.importers"),
}
"""Names whose modules are loaded when one is asked for: inferences have no use for the challenge's data and the importers."""


def __getattr__(name: str) -> Any:
    """Return one of the names that are loaded on demand."""
    if name not in _ON_DEMAND:
        raise AttributeError(f"module 'sparsednn' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(_ON_DEMAND[name])
    return module if name == "importers" else getattr(module, name)
