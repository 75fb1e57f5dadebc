"""Owns the sparse deep neural network: layers of weights in CSC form, biases and activations."""

from __future__ import annotations

from sparsednn.network.activation import Activation, clipped_relu, identity, relu
from sparsednn.network.challenge import Challenge
from sparsednn.network.layer import AnyLayer, Layer, RepeatedLayer
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
    "clipped_relu",
    "identity",
    "relu",
]
