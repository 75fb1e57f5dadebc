"""Defines layers: weights in CSC form, biases, an activation; columns that repeat, shifted or not, may be stored once."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.network.activation import Activation, Float32
from sparsednn.network.immutable import Immutable


@dataclass(slots=True, eq=False, repr=False)
class Layer(Immutable):
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
        Of all outputs, or of each one.
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

    @property
    def n_stored(self) -> int:
        """Number of connections that are stored: all."""
        return self.nnz

    def add_to(self, digest: hashlib._Hash) -> None:
        """Add all that the layer computes to a hash; a value that all weights or all biases have is added once."""
        digest.update(f"{self.n_inputs} {self.n_outputs} {self.activation}".encode())
        own = self.activation.neurons
        for array in (self.indptr, self.indices, self.values, self.bias, *(() if own is None else (own,))):
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


@dataclass(slots=True, eq=False, repr=False)
class RepeatedLayer(Immutable):
    """A layer in which columns are repeated and stored once; all weights, biases and activations are the same.

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
    def n_stored(self) -> int:
        """Number of connections that are stored: those of the distinct columns."""
        return int(self.columns.size)

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
        n, degree = self.columns.shape
        each = Layer(
            n_inputs=self.n_inputs,
            n_outputs=n,
            indptr=np.arange(0, n * degree + 1, degree, dtype=np.int64),
            indices=self.columns.astype(np.int32).reshape(-1),
            values=np.broadcast_to(self.weight, (n * degree,)),
            bias=np.broadcast_to(self.constant_bias, (n,)),
            activation=self.activation,
        )
        return each, self.column


@dataclass(slots=True, eq=False, repr=False)
class ShiftedLayer(Immutable):
    """A layer whose columns are a few templates, each at many offsets, as in a convolution; templates are stored once.

    Output j has the inputs ``offset[j] + relative[k]`` with the weights ``weights[k]``, for the k of its template: from
    ``starts[template[j]]`` to ``starts[template[j] + 1]``. Columns at the border of an image have templates of their own.

    `expanded` makes the `Layer` that computes the same to the bit; `indptr`, `indices` and `values` allocate at every access.

    Attributes
    ----------
    n_inputs, n_outputs : int
    starts : int64 array, shape (n_templates + 1,)
        Where each template's connections start.
    relative : int32 array, shape (n_stored,)
        Inputs, counted from the first one of their template: ascending from 0.
    weights : float32 array, shape (n_stored,)
        None of them zero.
    template : int32 array, shape (n_outputs,)
    offset : int32 array, shape (n_outputs,)
        First input of each output neuron; 0 where it has none.
    bias : float32 array, shape (n_outputs,)
    activation : Activation
        Of all outputs, or of each one.
    """

    n_inputs: int
    n_outputs: int
    starts: NDArray[np.int64]
    relative: NDArray[np.int32]
    weights: Float32
    template: NDArray[np.int32]
    offset: NDArray[np.int32]
    bias: Float32
    activation: Activation

    @property
    def nnz(self) -> int:
        """Number of connections."""
        return int(np.diff(self.starts)[self.template].sum())

    @property
    def n_stored(self) -> int:
        """Number of connections that are stored: those of the templates."""
        return len(self.relative)

    @property
    def indptr(self) -> NDArray[np.int64]:
        """Where each output neuron's connections start: int64, shape (n_outputs + 1,). Allocates at every access."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(self.starts)[self.template])])

    @property
    def indices(self) -> NDArray[np.int32]:
        """Input neuron of each connection: int32, shape (nnz,). Expands the layer at every access."""
        return self.expanded().indices

    @property
    def values(self) -> Float32:
        """Weights: float32, shape (nnz,). Expands the layer at every access."""
        return self.expanded().values

    def to_scipy(self) -> sp.csc_array:
        """Return the weights as a scipy ``csc_array`` of float32, shape (n_inputs, n_outputs)."""
        return self.expanded().to_scipy()

    def expanded(self) -> Layer:
        """Return the layer with every column on its own; allocates, with what is needed meanwhile, 24 bytes a connection."""
        indptr = self.indptr
        lengths = np.diff(indptr)
        at = np.arange(indptr[-1]) + np.repeat(self.starts[self.template] - indptr[:-1], lengths)
        indices = self.relative[at] + np.repeat(self.offset, lengths)
        return Layer(self.n_inputs, self.n_outputs, indptr, indices, self.weights[at], self.bias, self.activation)

    def add_to(self, digest: hashlib._Hash) -> None:
        """Add all that the layer computes to a hash, without expanding it."""
        digest.update(f"{self.n_inputs} {self.n_outputs} {self.activation} shifted".encode())
        own = self.activation.neurons
        arrays = (self.starts, self.relative, self.weights, self.template, self.offset, self.bias)
        for array in (*arrays, *(() if own is None else (own,))):
            digest.update(np.ascontiguousarray(array).data)

    def templates(self) -> Layer:
        """Return a layer of the templates, as they are at offset 0; without biases and activations."""
        n, nothing = len(self.starts) - 1, Activation("identity", -math.inf, math.inf)
        return Layer(self.n_inputs, n, self.starts, self.relative, self.weights, np.zeros(n, np.float32), nothing)

    def distinct(self) -> tuple[Layer, None]:
        """Return the layer with every column on its own, and None: columns with one template have other inputs."""
        return self.expanded(), None


AnyLayer = Layer | RepeatedLayer | ShiftedLayer
