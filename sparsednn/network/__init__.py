"""Owns the sparse deep neural network: layers of weights in CSC form, biases and activations."""

from __future__ import annotations

from sparsednn.network.activation import (
    Activation,
    activation_named,
    clipped_relu,
    gelu,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    tanh,
)
from sparsednn.network.layer import AnyLayer, Layer, RepeatedLayer
from sparsednn.network.network import BiasOn, Challenge, Network

__all__ = [
    "Activation",
    "AnyLayer",
    "BiasOn",
    "Challenge",
    "Layer",
    "Network",
    "RepeatedLayer",
    "activation_named",
    "clipped_relu",
    "gelu",
    "identity",
    "leaky_relu",
    "relu",
    "sigmoid",
    "tanh",
]
