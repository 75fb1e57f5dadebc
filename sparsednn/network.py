"""Sparse deep neural networks: layers of weights in CSC form, biases and activations.

The inference of one layer (Kepner et al., "Sparse Deep Neural Network Graph Challenge", HPEC 2019) is::

    Z = Y @ W
    Z = Z + bias         where Z is nonzero (bias_on="nonzero") or everywhere (bias_on="all")
    Y = activation(Z)
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from sparsednn.arguments.arrays import LARGEST, canonical_csc, finite_bias
from sparsednn.arguments.scalars import instance_of, real_number
from sparsednn.errors import OptionError, OptionTypeError

BiasOn = Literal["nonzero", "all"]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation that clamps: ``y = min(max(z, low), high)``, for every neuron, whatever its sum.

    Raises
    ------
    TypeError
        If a limit is no real number, or `name` no text.
    ValueError
        If a limit is NaN or beyond float32, no number lies between them, or `name` is empty.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the limits, and keep them as plain numbers."""
        instance_of("Activation: name", self.name, str, "text is needed")
        if not self.name:
            raise OptionError("Activation: name is empty")
        for end in ("low", "high"):
            limit = real_number(f"Activation({self.name!r}): {end}", getattr(self, end))
            if math.isfinite(limit) and abs(limit) > LARGEST:
                raise OptionError(f"Activation({self.name!r}): {end}={limit}: beyond float32; use math.inf for no limit")
            object.__setattr__(self, end, limit)
        if not np.float32(self.low) <= np.float32(self.high) or self.low == math.inf or self.high == -math.inf:
            raise OptionError(
                f"Activation({self.name!r}): low={self.low}, high={self.high}: no finite number lies between them"
            )

    def __call__(self, z: Float32) -> Float32:
        """Apply it to an array of float32; NaN stays NaN."""
        return np.minimum(np.maximum(z, np.float32(self.low)), np.float32(self.high))


def relu() -> Activation:
    """Return the rectifier ``max(z, 0)``."""
    return Activation("relu", 0.0, math.inf)


def clipped_relu(maximum: float) -> Activation:
    """Return the rectifier of the Graph Challenge, ``min(max(z, 0), maximum)``.

    Raises
    ------
    TypeError, ValueError
        If `maximum` is not a positive number that float32 has.
    """
    limit = real_number("clipped_relu: maximum", maximum)
    with np.errstate(under="ignore"):
        if not np.float32(min(limit, LARGEST)) > 0:
            raise OptionError(f"clipped_relu(maximum={maximum}): the maximum must be above 0 in float32")
    return Activation("clipped_relu", 0.0, limit)


def identity() -> Activation:
    """Return the activation that changes nothing."""
    return Activation("identity", -math.inf, math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer: an ``n_inputs x n_outputs`` weight matrix in CSC form, a bias for each output and an activation.

    Attributes
    ----------
    n_inputs, n_outputs : int
        Neurons before and after the layer.
    indptr : int64 array, shape (n_outputs + 1,)
        Where each output neuron's connections start.
    indices : int32 array, shape (nnz,)
        Input neuron of each connection, ascending within an output neuron; in a hashed network, in the order that they had
        before (see `sparsednn.rows.hashing.hash_neurons`).
    values : float32 array, shape (nnz,)
        Weights, none of them zero; may be a broadcast view when all are equal.
    bias : float32 array, shape (n_outputs,)
    activation : Activation
    """

    n_inputs: int
    n_outputs: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Float32
    bias: Float32
    activation: Activation

    @property
    def nnz(self) -> int:
        """Number of connections."""
        return int(self.indptr[-1])

    def add_to(self, digest: hashlib._Hash) -> None:
        """Add all that the layer computes to a hash; a value that all weights or all biases have is added once."""
        digest.update(f"{self.n_inputs} {self.n_outputs} {self.activation}".encode())
        for array in (self.indptr, self.indices, self.values, self.bias):
            if array.strides == (0,) and array.size:
                digest.update(f"{array.size} x {array.dtype} {array[0]!r}".encode())
            else:
                digest.update(np.ascontiguousarray(array).data)

    def to_scipy(self) -> sp.csc_array:
        """Return the weights as a scipy ``csc_array`` of float32, shape (n_inputs, n_outputs)."""
        data = np.ascontiguousarray(self.values)
        return sp.csc_array((data, self.indices, self.indptr), shape=(self.n_inputs, self.n_outputs))

    def expanded(self) -> Layer:
        """Return this layer."""
        return self

    def distinct(self) -> tuple[Layer, NDArray[np.int32] | None]:
        """Return this layer, and None: its columns are not known to repeat."""
        return self, None


@dataclass(frozen=True, slots=True, eq=False)
class RepeatedLayer:
    """A layer in which columns are repeated and stored once; all weights are the same, and so are all biases.

    `expanded` makes a `Layer` of it, `distinct` one of the columns that differ. `indptr` and `indices` allocate at every
    access: who needs them more than once takes them from ``expanded()``.

    Attributes
    ----------
    n_inputs, n_outputs : int
    columns : uint16 or int32 array, shape (n_distinct, degree)
        Input neurons of each distinct column, ascending.
    column : int32 array, shape (n_outputs,)
        The distinct column of each output neuron; each one is in use.
    weight, constant_bias : float32
    activation : Activation
    """

    n_inputs: int
    n_outputs: int
    columns: NDArray[np.uint16] | NDArray[np.int32]
    column: NDArray[np.int32]
    weight: np.float32
    constant_bias: np.float32
    activation: Activation

    @property
    def nnz(self) -> int:
        """Number of connections."""
        return self.n_outputs * int(self.columns.shape[1])

    @property
    def indptr(self) -> NDArray[np.int64]:
        """Where each output neuron's connections start: int64, shape (n_outputs + 1,). Allocates at every access."""
        return np.arange(0, self.nnz + 1, self.columns.shape[1], dtype=np.int64)

    @property
    def indices(self) -> NDArray[np.int32]:
        """Input neuron of each connection: int32, shape (nnz,). Expands the layer at every access."""
        return self.expanded().indices

    @property
    def values(self) -> Float32:
        """Weights: a broadcast view of float32, shape (nnz,)."""
        return np.broadcast_to(self.weight, (self.nnz,))

    @property
    def bias(self) -> Float32:
        """Biases: a broadcast view of float32, shape (n_outputs,)."""
        return np.broadcast_to(self.constant_bias, (self.n_outputs,))

    def to_scipy(self) -> sp.csc_array:
        """Return the weights as a scipy ``csc_array`` of float32, shape (n_inputs, n_outputs)."""
        return self.expanded().to_scipy()

    def expanded(self) -> Layer:
        """Return the layer with every column on its own; allocates nnz int32 and n_outputs + 1 int64."""
        return Layer(
            n_inputs=self.n_inputs,
            n_outputs=self.n_outputs,
            indptr=self.indptr,
            indices=self.columns.astype(np.int32)[self.column].reshape(-1),
            values=self.values,
            bias=self.bias,
            activation=self.activation,
        )

    def add_to(self, digest: hashlib._Hash) -> None:
        """Add all that the layer computes to a hash, without expanding it."""
        about = (self.n_inputs, self.n_outputs, self.activation, self.weight, self.constant_bias, self.columns.shape)
        digest.update(" ".join(map(repr, about)).encode())
        for array in (self.columns, self.column):
            digest.update(np.ascontiguousarray(array).data)

    def distinct(self) -> tuple[Layer, NDArray[np.int32] | None]:
        """Return a layer of the distinct columns, and the one of each output: int32, shape (n_outputs,)."""
        every = replace(self, n_outputs=len(self.columns), column=np.arange(len(self.columns), dtype=np.int32))
        return every.expanded(), self.column


AnyLayer = Layer | RepeatedLayer


@dataclass(frozen=True, slots=True)
class Challenge:
    """Says that a network is one of the twelve of the Sparse DNN Graph Challenge."""

    neurons: int
    layers: int


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
