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

from sparsednn.arguments.arrays import as_float32, canonical_csc, finite_bias, is_tensor
from sparsednn.arguments.scalars import instance_of
from sparsednn.errors import OptionError, OptionTypeError
from sparsednn.network.activation import Activation, Float32
from sparsednn.network.activations import activation_named, relu
from sparsednn.network.challenge import Challenge
from sparsednn.network.layer import AnyLayer, Layer, RepeatedLayer, ShiftedLayer
from sparsednn.network.orientation import Layout, in_out
from sparsednn.network.outline import NetworkOutline

BiasOn = Literal["nonzero", "all"]


@dataclass(slots=True, init=False, eq=False)
class Network:
    """A sparse deep neural network for inference.

    Parameters
    ----------
    weights : sequence of matrices (rows: inputs, columns: outputs)
        One for each layer: scipy.sparse, NumPy, or a tensor on the CPU. Widths may differ from layer to layer but must match.
        Converted to float32; zeros are dropped and duplicates added up.
    bias : float, or a sequence with a float or an array of shape (n_outputs,) for each layer
    bias_on : {"nonzero", "all"}, optional
        Add the bias only where ``Y @ W`` is nonzero (the Graph Challenge's rule) or everywhere (ordinary networks). Default:
        "all" if a layer has an array of biases, else "nonzero".
    activation : Activation or its name, or a sequence with one for each layer
        ``relu()``, ``leaky_relu(slope)``, ``sigmoid()``, ...; ``Activation.per_neuron(...)`` where neurons have their own;
        "relu", "relu6", "hardtanh", "identity", "clip(low,high)", ...: see `sparsednn.network.activations.activation_named`.

    Raises
    ------
    ValueError
        If there are no layers, shapes do not match, a weight or bias is NaN or infinite, or an activation has an unknown name.
    TypeError
        If a weight matrix is no matrix of real numbers, a bias is no number or array of real numbers, or the activation is
        neither an Activation nor a name.
    """

    layers: tuple[AnyLayer, ...]
    bias_on: BiasOn
    challenge: Challenge | None = field(default=None)

    def __init__(
        self,
        weights: Sequence[Any],
        *,
        bias: float | Sequence[ArrayLike] = 0.0,
        bias_on: BiasOn | None = None,
        activation: Activation | str | Sequence[Activation | str] | None = None,
    ) -> None:
        matrices = _matrices(weights)
        biases = _per_layer(bias, len(matrices), "bias")
        if callable(activation):  # as an Activation is
            _activation(activation, "activation")
        activations = _per_layer(relu() if activation is None else activation, len(matrices), "activation")
        layers = [
            _layer(number, matrix, b, act)
            for number, (matrix, b, act) in enumerate(zip(matrices, biases, activations, strict=True), start=1)
        ]
        self._set(layers, _usual_rule(biases) if bias_on is None else bias_on)

    @classmethod
    def from_dense(
        cls,
        weights: Sequence[Any],
        biases: Sequence[ArrayLike | None] | None = None,
        *,
        layout: Layout | None = None,
        activation: Activation | str | Sequence[Activation | str] | None = None,
    ) -> Network:
        """Build an ordinary network, whose biases are added everywhere, from matrices as other libraries have them.

        Parameters
        ----------
        weights : sequence of matrices, as of `Network`; zeros are dropped
        biases : sequence with an array of shape (n_outputs,), a number, or None for each layer, optional
        layout : {"in_out", "out_in"}, optional
            Whether a matrix has shape (inputs, outputs), as in Keras and `Network`, or (outputs, inputs), as in PyTorch.
            Default "in_out"; it must be said if every matrix is square, since nothing else would tell.
        activation : Activation or its name, or a sequence with one for each layer, optional
            Default: "relu" in all layers but the last, which is linear.

        Raises
        ------
        ValueError, TypeError
            As `Network` does; if the matrices only fit in the other layout, the message names the layer and that layout.
        """
        matrices = in_out([_matrix(number, w) for number, w in enumerate(_matrices(weights), start=1)], biases, layout)
        given = [0.0] * len(matrices) if biases is None else [0.0 if b is None else b for b in biases]
        usual = ["relu"] * (len(matrices) - 1) + ["identity"]
        return cls(matrices, bias=given, bias_on="all", activation=usual if activation is None else activation)

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
            instance_of(f"layer {number}", layer, (Layer, RepeatedLayer, ShiftedLayer), "a Layer is needed")
        if not isinstance(bias_on, str) or bias_on not in ("nonzero", "all"):
            raise OptionError(f"bias_on={bias_on!r}: legal are 'nonzero' and 'all'")
        for number, (before, after) in enumerate(itertools.pairwise(layers), start=1):
            if before.n_outputs != after.n_inputs:
                raise OptionError(
                    f"layer {number} has {before.n_outputs} outputs but layer {number + 1} has {after.n_inputs} inputs"
                )
        for number, layer in enumerate(layers, start=1):
            layer.activation.require_outputs(
                layer.n_outputs, f"layer {number}: activation", same=isinstance(layer, RepeatedLayer)
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
        equal but stored in different ways (`RepeatedLayer`, `ShiftedLayer`).
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
    if sp.issparse(weights) or (hasattr(weights, "ndim") and weights.ndim == 2):
        raise OptionTypeError("weights: one matrix is given; a network of one layer is Network([matrix])")
    if isinstance(weights, Mapping | Set | str | bytes) or not isinstance(weights, Iterable):
        raise OptionTypeError(f"weights: a sequence with one matrix a layer is needed, not {_described(weights)}")
    return list(weights)


def _usual_rule(biases: Sequence[Any]) -> BiasOn:
    """Return where biases are added if nobody says: networks with an array of them are ordinary ones."""
    return "all" if any(np.ndim(bias) > 0 for bias in biases if not sp.issparse(bias)) else "nonzero"


def _matrix(number: int, matrix: Any) -> Any:
    """Return a layer's weights, sparse as they are, dense ones as a NumPy array."""
    if sp.issparse(matrix):
        return matrix
    if not isinstance(matrix, np.ndarray) and not is_tensor(matrix) and not hasattr(matrix, "__array__"):
        kinds = "a NumPy array, a tensor or a scipy.sparse matrix"
        raise OptionTypeError(f"layer {number}: weights must be {kinds}, not {type(matrix).__name__}")
    return as_float32(matrix, f"layer {number}")


def _layer(number: int, matrix: Any, bias: ArrayLike, activation: Activation | str) -> Layer:
    """Check one layer and bring it into canonical form."""
    checked = _activation(activation, f"layer {number}: activation")
    weights = canonical_csc(_matrix(number, matrix), f"layer {number}")
    n_inputs, n_outputs = weights.shape
    return Layer(
        n_inputs,
        n_outputs,
        weights.indptr.astype(np.int64),
        weights.indices.astype(np.int32),
        weights.data,
        finite_bias(bias, n_outputs, f"layer {number}: bias"),
        checked,
    )


def _activation(activation: Any, name: str) -> Activation:
    if isinstance(activation, str):
        return activation_named(activation, name)
    if not isinstance(activation, Activation):
        raise OptionTypeError(
            f"{name} must be a name, or relu(), clipped_relu(max) or identity(), with brackets, not {_described(activation)}"
        )
    return activation


def _described(value: Any) -> str:
    """Describe a value in a short line, for a message."""
    if callable(value):
        return f"the function {getattr(value, '__name__', value)}"
    return repr(value) if isinstance(value, str | int | float | complex | None) else type(value).__name__
