"""Hypothesis strategies for networks and inputs of every kind that the package promises to run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

import sparsednn


@dataclass(frozen=True)
class Case:
    """A network, its inputs, and the same as dense arrays for the oracle."""

    network: sparsednn.Network
    inputs: sp.csr_array
    weights: list[np.ndarray]
    bias: list[Any]
    limits: list[tuple[Any, ...]]


ACTIVATIONS = st.sampled_from([sparsednn.relu(), sparsednn.clipped_relu(2.5), sparsednn.clipped_relu(32), sparsednn.identity()])
LIFTING = st.sampled_from([sparsednn.Activation("floor", 0.1, 1.0), sparsednn.Activation("ceiling", -math.inf, -0.25)])
"""Activations that make something else than zero of zero."""


@st.composite
def cases(
    draw: st.DrawFn,
    widest: int = 70,
    most_rows: int = 60,
    most_layers: int = 5,
    narrowest: int = 1,
    scales: Sequence[float] = (0.1, 0.5, 1.0),
) -> Case:
    """Random shapes (rectangular layers too), densities, weights, biases, activations; rows, columns, layers may be empty."""
    widths = draw(st.lists(st.integers(narrowest, widest), min_size=2, max_size=most_layers + 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from(scales))
    weights = [_matrix(rng, n, m, draw(st.sampled_from([0.0, 0.05, 0.2, 0.6, 1.0])), scale) for n, m in _pairs(widths)]
    inputs = _matrix(rng, draw(st.integers(1, most_rows)), widths[0], draw(st.sampled_from([0.02, 0.2, 0.7, 1.0])), 1.0)
    if draw(st.booleans()):
        inputs = np.abs(inputs)
    bias = [_bias(rng, m, draw(st.sampled_from(["zero", "negative", "positive", "neuron"]))) for m in widths[1:]]
    if draw(st.booleans()):  # columns that repeat, with their biases, and instances that do
        same = [rng.integers(0, max(m // 4, 1), m) for m in widths[1:]]
        weights = [w[:, of] for w, of in zip(weights, same, strict=True)]
        bias = [b if np.ndim(b) == 0 else np.asarray(b)[of] for b, of in zip(bias, same, strict=True)]
        inputs = inputs[rng.integers(0, max(len(inputs) // 4, 1), len(inputs))]
    if draw(st.integers(0, 3)) == 0:  # weights that let instances reach the maximum, if there is one, and stay there
        weights = [np.abs(w) * np.float32(8) for w in weights]
    bias_on = draw(st.sampled_from(["nonzero", "all"]))
    kinds = LIFTING | ACTIVATIONS if draw(st.integers(0, 4)) == 0 else ACTIVATIONS
    activations = [draw(kinds) for _ in weights]
    network = sparsednn.Network([sp.csr_array(w) for w in weights], bias=bias, bias_on=bias_on, activation=activations)
    return Case(network, sp.csr_array(inputs), weights, bias, [(a.low, a.high) for a in activations])


@st.composite
def own_activations(draw: st.DrawFn, smooth: bool, **sizes: Any) -> Case:
    """The same with slopes, and with limits and slopes (and `smooth` functions) of each neuron; instances and layers die."""
    case = draw(cases(**sizes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    limits: list[tuple[Any, ...]] = []
    activations = []
    for layer in case.network.layers:
        activation, (low, high, slope) = _own_activation(
            rng, layer.n_outputs, draw(st.sampled_from(KINDS[: 5 if smooth else 3]))
        )
        activations.append(activation)
        limits.append((low, high, slope))
    weights = [sp.csr_array(w) for w in case.weights]
    network = sparsednn.Network(weights, bias=case.bias, bias_on=case.network.bias_on, activation=activations)
    return Case(network, case.inputs, case.weights, case.bias, limits)


KINDS = ("clamp", "leaky", "neurons", "smooth", "mixed")
SMOOTH = (sparsednn.sigmoid, sparsednn.tanh, sparsednn.gelu)


def _own_activation(rng: np.random.Generator, n: int, kind: str) -> tuple[sparsednn.Activation, tuple[Any, Any, Any]]:
    """An activation, and its limits and slopes; few different ones, so that columns may still be the same."""
    if kind == "clamp":
        return sparsednn.clipped_relu(2.5), (0, 2.5, 1)
    if kind == "leaky":
        slope = float(rng.choice([0.01, 0.25, 0.0, -1.0, 3.0]))
        return sparsednn.leaky_relu(slope), (-math.inf, math.inf, slope)
    if kind == "smooth":
        return SMOOTH[rng.integers(3)](), (-math.inf, math.inf, 1)
    lows = [-math.inf, 0.0, 0.0, -0.5] if rng.random() < 0.7 else [0.1, 0.0, -0.5]
    low, high, slope = (rng.choice(values, n) for values in (lows, [math.inf, 2.0, 0.75], [1.0, 0.1, 0.0]))
    function = rng.choice(["none", "sigmoid", "tanh", "gelu"], n) if kind == "mixed" else np.full(n, "none")
    slope = np.where(function == "none", slope, 1.0)
    return sparsednn.Activation.per_neuron(low, high, slope, function), (low, high, slope)


def _pairs(widths: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(widths))


def _matrix(rng: np.random.Generator, n: int, m: int, density: float, scale: float) -> np.ndarray:
    values = rng.normal(size=(n, m)).astype(np.float32) * np.float32(scale)
    return np.where(rng.random((n, m)) < density, values, np.float32(0))


def _bias(rng: np.random.Generator, n: int, kind: str) -> Any:
    if kind == "neuron":
        return rng.normal(size=n).astype(np.float32) * np.float32(0.3)
    return {"zero": 0.0, "negative": -0.3, "positive": 0.2}[kind]


def shifted_network() -> sparsednn.Network:
    """A layer of two templates at many offsets, and one of a template that is nowhere at the border; built by hand."""
    first = sparsednn.network.ShiftedLayer(
        n_inputs=8,
        n_outputs=12,
        starts=np.array([0, 3, 5], np.int64),
        relative=np.array([0, 1, 2, 0, 2], np.int32),
        weights=np.array([0.5, -1, 0.25, 2, 0.125], np.float32),
        template=np.repeat(np.array([0, 1], np.int32), 6),
        offset=np.tile(np.arange(6, dtype=np.int32), 2),
        bias=np.repeat(np.array([0.5, -0.25], np.float32), 6),
        activation=sparsednn.relu(),
    )
    second = sparsednn.network.ShiftedLayer(
        n_inputs=12,
        n_outputs=3,
        starts=np.array([0, 0, 2], np.int64),
        relative=np.array([0, 6], np.int32),
        weights=np.array([1, -0.5], np.float32),
        template=np.array([1, 0, 1], np.int32),
        offset=np.array([0, 0, 5], np.int32),
        bias=np.zeros(3, np.float32),
        activation=sparsednn.identity(),
    )
    return sparsednn.Network.from_layers([first, second], "all")
