"""Builds a network of checked layers, and states the rule that a layer's bias follows.

The inference of one layer (Kepner et al., "Sparse Deep Neural Network Graph Challenge", HPEC 2019) is::

    Z = Y @ W
    Z = Z + bias         where Z is nonzero (bias_on="nonzero") or everywhere (bias_on="all")
    Y = activation(Z)
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from sparsednn.arguments.arrays import canonical_csc, finite_bias
from sparsednn.arguments.scalars import instance_of
from sparsednn.errors import OptionError, OptionTypeError
from sparsednn.network.activation import Activation, Float32, relu
from sparsednn.network.challenge import Challenge
from sparsednn.network.layer import AnyLayer, Layer, RepeatedLayer
from sparsednn.network.outline import NetworkOutline

BiasOn = Literal["nonzero", "all"]


@dataclass(slots=True, init=False, eq=False)
class Network:
    """A sparse deep neural network for inference.

    Parameters
    ----------
    weights : sequence of scipy.sparse matrices (rows: inputs, columns: outputs)
        One for each layer; widths may differ from layer to layer but must match. Converted to float32; explicit zeros are
        dropped and duplicates added up.
    bias : float, or a sequence with a float or an array of shape (n_outputs,) for each layer
    bias_on : {"nonzero", "all"}
        Add the bias only where ``Y @ W`` is nonzero (the Graph Challenge's rule) or everywhere (ordinary networks).
    activation : Activation, or a sequence with one for each layer
        ``relu()``, ``clipped_relu(max)`` or ``identity()``.

    Raises
    ------
    ValueError
        If there are no layers, shapes do not match, or a weight or bias is NaN or infinite.
    TypeError
        If a weight matrix is not a scipy.sparse matrix of real numbers, a bias is no number or array of real numbers, or the
        activation is not an Activation.
    """

    layers: tuple[AnyLayer, ...]
    bias_on: BiasOn
    challenge: Challenge | None = field(default=None)

    def __init__(
        self,
        weights: Sequence[Any],
        *,
        bias: float | Sequence[ArrayLike] = 0.0,
        bias_on: BiasOn = "nonzero",
        activation: Activation | Sequence[Activation] | None = None,
    ) -> None:
        matrices = _matrices(weights)
        biases = _per_layer(bias, len(matrices), "bias")
        if callable(activation):  # as an Activation is
            _require_activation(activation, "activation")
        activations = _per_layer(relu() if activation is None else activation, len(matrices), "activation")
        layers = [
            _layer(number, matrix, b, act)
            for number, (matrix, b, act) in enumerate(zip(matrices, biases, activations, strict=True), start=1)
        ]
        self._set(layers, bias_on)

    @classmethod
    def from_layers(
        cls, layers: Sequence[AnyLayer], bias_on: BiasOn = "nonzero", challenge: Challenge | None = None
    ) -> Network:
        """Build a network from layers that are already in canonical form (as a generator makes them)."""
        network = cls.__new__(cls)
        network._set(layers, bias_on)
        network.challenge = challenge
        return network

    def _set(self, layers: Sequence[AnyLayer], bias_on: BiasOn) -> None:
        instance_of("layers", layers, (list, tuple), "a sequence of layers is needed")
        if not layers:
            raise OptionError("a network needs at least one layer")
        for number, layer in enumerate(layers, start=1):
            instance_of(f"layer {number}", layer, (Layer, RepeatedLayer), "a Layer is needed")
        if not isinstance(bias_on, str) or bias_on not in ("nonzero", "all"):
            raise OptionError(f"bias_on={bias_on!r}: legal are 'nonzero' and 'all'")
        for number, (before, after) in enumerate(itertools.pairwise(layers), start=1):
            if before.n_outputs != after.n_inputs:
                raise OptionError(
                    f"layer {number} has {before.n_outputs} outputs but layer {number + 1} has {after.n_inputs} inputs"
                )
        self.layers = tuple(layers)
        self.bias_on = bias_on
        self.challenge = None

    @property
    def n_inputs(self) -> int:
        """Neurons of the input."""
        return self.layers[0].n_inputs

    @property
    def n_outputs(self) -> int:
        """Neurons of the last layer."""
        return self.layers[-1].n_outputs

    @property
    def nnz(self) -> int:
        """Number of connections of all layers (the challenge's "edges")."""
        return sum(layer.nnz for layer in self.layers)

    def outline(self) -> NetworkOutline:
        """Return its shape; the arrays are the layers' own, but those of layers whose columns repeat, which share some."""
        made: dict[tuple[int, int], NDArray[np.int64]] = {}
        ends = []
        for layer in self.layers:
            if isinstance(layer, RepeatedLayer):
                size = layer.n_outputs, layer.nnz
                ends.append(made[size] if size in made else made.setdefault(size, layer.indptr))
            else:
                ends.append(layer.indptr)
        return NetworkOutline(self.n_inputs, tuple(ends), self.challenge)

    def fingerprint(self) -> str:
        """Return a SHA-256 of all that the network computes, as 64 hexadecimal digits.

        Networks that differ in a layer, a bias, an activation or the rule of the bias have different ones; so may two that are
        equal but stored in different ways (`RepeatedLayer`).
        """
        digest = hashlib.sha256(self.bias_on.encode())
        for layer in self.layers:
            layer.add_to(digest)
        return digest.hexdigest()

    def zero_outputs(self, number: int) -> Float32:
        """Return what layer `number` (0-based) makes of a zero before the bias: float32, shape (n_outputs,)."""
        layer = self.layers[number]
        bias = layer.bias if self.bias_on == "all" else np.zeros_like(layer.bias)
        return layer.activation(bias)

    def zero_rows_stay_zero(self) -> NDArray[np.bool_]:
        """Say for each layer whether a row of zeros before it is a row of zeros after the last layer.

        Such a row may be dropped without changing any result. Shape (n_layers,), bool.
        """
        keeps = np.array([not self.zero_outputs(number).any() for number in range(len(self.layers))])
        return np.logical_and.accumulate(keeps[::-1])[::-1]


def _per_layer(value: Any, n_layers: int, name: str) -> list[Any]:
    if np.isscalar(value) or isinstance(value, Activation) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return [value] * n_layers
    if sp.issparse(value) or isinstance(value, Mapping | Set | np.ma.MaskedArray) or not isinstance(value, Iterable):
        raise OptionTypeError(f"{name}: give one for all layers, or a sequence with one a layer, not {_described(value)}")
    values = list(value)
    if len(values) != n_layers:
        raise OptionError(f"{name}: {len(values)} given for {n_layers} layers; give one for all, or one a layer")
    return values


def _matrices(weights: Any) -> list[Any]:
    """Return the layers' matrices, which are not looked at yet."""
    if sp.issparse(weights) or (isinstance(weights, np.ndarray) and weights.ndim == 2):
        raise OptionTypeError("weights: one matrix is given; a network of one layer is Network([matrix])")
    if isinstance(weights, Mapping | Set | str | bytes) or not isinstance(weights, Iterable):
        raise OptionTypeError(f"weights: a sequence with one scipy.sparse matrix a layer is needed, not {_described(weights)}")
    return list(weights)


def _layer(number: int, matrix: Any, bias: ArrayLike, activation: Activation) -> Layer:
    """Check one layer and bring it into canonical form."""
    if not sp.issparse(matrix):
        raise OptionTypeError(f"layer {number}: weights must be a scipy.sparse matrix, not {type(matrix).__name__}")
    _require_activation(activation, f"layer {number}: activation")
    weights = canonical_csc(matrix, f"layer {number}")
    n_inputs, n_outputs = weights.shape
    return Layer(
        n_inputs,
        n_outputs,
        weights.indptr.astype(np.int64),
        weights.indices.astype(np.int32),
        weights.data,
        finite_bias(bias, n_outputs, f"layer {number}: bias"),
        activation,
    )


def _require_activation(activation: Any, name: str) -> None:
    if not isinstance(activation, Activation):
        raise OptionTypeError(
            f"{name} must be relu(), clipped_relu(max) or identity(), with brackets, not {_described(activation)}"
        )


def _described(value: Any) -> str:
    """What a value is, in a short line."""
    if callable(value):
        return f"the function {getattr(value, '__name__', value)}"
    return repr(value) if isinstance(value, str | int | float | complex | None) else type(value).__name__
