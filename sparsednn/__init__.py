"""Runs sparse deep neural networks: owns `infer`, the networks, their inputs and the results.

The public API::

    import sparsednn

    network = sparsednn.radixnet(1024, 120)
    inputs = sparsednn.challenge_inputs(1024)
    result = sparsednn.infer(network, inputs, backend="numba")
    print(len(result.categories), result.record["seconds"]["inference_median"])
"""

from __future__ import annotations

from sparsednn.data.challenge_inputs import challenge_inputs
from sparsednn.data.radixnet import radixnet
from sparsednn.engine import CompiledNetwork, compile, infer, load
from sparsednn.execution.options import InferOptions
from sparsednn.network import Activation, Layer, Network, clipped_relu, identity, relu
from sparsednn.results.result import Result

__all__ = [
    "Activation",
    "CompiledNetwork",
    "InferOptions",
    "Layer",
    "Network",
    "Result",
    "challenge_inputs",
    "clipped_relu",
    "compile",
    "identity",
    "infer",
    "load",
    "radixnet",
    "relu",
]

__version__ = "0.1.0"
