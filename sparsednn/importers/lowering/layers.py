"""Makes a layer of affine functions of the state, and the rows that carry the state through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.network import Activation, Layer


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
    needed: Sequence[Any], signed: NDArray[np.bool_], clamps: bool, first: int
) -> tuple[Affine, NDArray[np.bool_], sp.csr_array]:
    """Return the rows that carry through a layer what tensors refer to.

    Parameters
    ----------
    needed : csr_arrays, shape (n, n_state)
    signed : bool, shape (n_state,)
        Which neurons of the state can be negative.
    clamps : bool
        Whether the layer cuts off what is negative: such neurons are carried in two rows then.
    first : int
        Number of the layer's outputs before these.

    Returns
    -------
    rows : Affine
    signed : bool, shape (n_carried,)
        Which of them can be negative after the layer.
    after : csr_array, shape (n_state, first + n_carried)
        The state in terms of the layer's outputs.
    """
    n_state = len(signed)
    carry = np.zeros(n_state, np.bool_)
    for matrix in needed:
        carry[matrix.indices] = True
    one = np.flatnonzero(carry)
    two = one[signed[one]] if clamps else one[:0]
    n = len(one) + len(two)
    values, neurons = np.concatenate([np.ones(len(one)), -np.ones(len(two))]), np.concatenate([one, two])
    rows = sp.csr_array((values, neurons, np.arange(n + 1)), shape=(n, n_state))
    after = sp.csr_array((values, (neurons, first + np.arange(n))), shape=(n_state, first + n))
    still = np.zeros(n, np.bool_) if clamps else signed[one]
    return Affine(rows, np.zeros(n)), still, after


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
