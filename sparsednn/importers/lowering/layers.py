"""Makes a layer of affine functions of the state, and the rows that carry the state through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.network import Activation, Layer, activation_named


class Affine(NamedTuple):
    """A function ``matrix @ state + constant``.

    Attributes
    ----------
    matrix : csr_array of float64, shape (n, n_state)
    constant : float64 array, shape (n,)
    """

    matrix: Any
    constant: NDArray[np.float64]

    @classmethod
    def part_of_state(cls, first: int, n: int, n_state: int) -> Affine:
        """Return `n` neurons of the state from `first` on."""
        matrix = sp.csr_array((np.ones(n), np.arange(first, first + n), np.arange(n + 1)), shape=(n, n_state))
        return cls(matrix, np.zeros(n))


def picked(affine: Affine, index: NDArray[np.int64], fill: float) -> Affine:
    """Return elements of a function: index : int64, shape (n,); -1 is the constant `fill`."""
    inside = index >= 0
    if inside.all():
        return Affine(affine.matrix[index], affine.constant[index])
    rows = np.flatnonzero(inside)
    chooser = sp.csr_array((np.ones(len(rows)), (rows, index[rows])), shape=(len(index), affine.matrix.shape[0]))
    return Affine(sp.csr_array(chooser @ affine.matrix), np.where(inside, affine.constant[index], fill))


def carried_rows(
    needed: Sequence[Any], signed: NDArray[np.bool_], first: int
) -> tuple[Affine, NDArray[np.bool_], sp.csr_array]:
    """Return the rows that carry through a layer what tensors refer to.

    Parameters
    ----------
    needed : csr_arrays, shape (n, n_state)
    signed : bool, shape (n_state,)
        Which neurons of the state can be negative.
    first : int
        Number of the layer's outputs before these.

    Returns
    -------
    rows : Affine
    signed : bool, shape (n_carried,)
        Which of them can be negative.
    after : csr_array, shape (n_state, first + n_carried)
        The state in terms of the layer's outputs.
    """
    carry = np.zeros(len(signed), np.bool_)
    for matrix in needed:
        carry[matrix.indices] = True
    neurons = np.flatnonzero(carry)
    n = len(neurons)
    rows = sp.csr_array((np.ones(n), neurons, np.arange(n + 1)), shape=(n, len(signed)))
    after = sp.csr_array((np.ones(n), (neurons, first + np.arange(n))), shape=(len(signed), first + n))
    return Affine(rows, np.zeros(n)), signed[neurons], after


def joined(parts: Sequence[tuple[Activation, int]], signed: NDArray[np.bool_]) -> Activation:
    """Return the activation of a layer: those of its parts, and for what is carried one that changes nothing.

    parts : activations, and how many outputs have each; signed : bool (n_carried,), which carried outputs can be negative
    """
    first = parts[0][0]
    harmless = first.is_clamp and first.high == math.inf and (first.low == -math.inf or (first.low <= 0 and not signed.any()))
    if all(one == first for one, _ in parts) and (not len(signed) or harmless):
        return first
    table = np.concatenate([one.table(n) for one, n in [*parts, (activation_named("identity"), len(signed))]])
    return Activation.of_table(table, first.name)


def keeps_nonnegative(activation: Activation, nonnegative: bool) -> bool:
    """Return whether an activation's outputs cannot be negative, of sums that cannot, or can."""
    turns = activation.neurons is None and activation.function == "none" and activation.slope <= 0
    return activation.low >= 0 or (activation.high >= 0 and (nonnegative or turns))


def layer_of(parts: Sequence[Affine], activation: Activation, where: str) -> Layer:
    """Return a layer of the rows of functions, in float32.

    Raises
    ------
    ValueError
        If a weight or a bias is beyond float32; the message begins with `where`.
    """
    matrix = sp.csr_array(sp.vstack([part.matrix for part in parts], format="csr"))
    matrix.sum_duplicates()
    bias64 = np.concatenate([part.constant for part in parts])
    with np.errstate(over="ignore"):
        data, bias = matrix.data.astype(np.float32), bias64.astype(np.float32)
    for name, values in (("weight", data), ("bias", bias)):
        if not np.isfinite(values).all():
            raise DataError(f"{where}: a {name} of the layer that it becomes is beyond float32")
    matrix = sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    matrix.eliminate_zeros()
    n_outputs, n_inputs = matrix.shape  # csr, rows as outputs, is csc with columns as outputs
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    return Layer(n_inputs, n_outputs, indptr, indices, matrix.data, bias, activation)
