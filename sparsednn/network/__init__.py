"""Owns the sparse deep neural network: layers of weights in CSC form, biases and activations."""

from __future__ import annotations

from sparsednn.network.activation import Activation
from sparsednn.network.activations import activation_named, clipped_relu, gelu, identity, leaky_relu, relu, sigmoid, tanh
from sparsednn.network.challenge import Challenge
from sparsednn.network.layer import AnyLayer, Layer, RepeatedLayer, ShiftedLayer
from sparsednn.network.network import BiasOn, Network
from sparsednn.network.outline import NetworkOutline

__all__ = [
    "Activation",
    "AnyLayer",
    "BiasOn",
    "Challenge",
    "Layer",
    "Network",
    "NetworkOutline",
    "RepeatedLayer",
    "ShiftedLayer",
    "activation_named",
    "clipped_relu",
    "gelu",
    "identity",
    "leaky_relu",
    "relu",
    "sigmoid",
    "tanh",
]
