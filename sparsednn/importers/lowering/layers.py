"""Makes a layer of affine functions of the state, and the rows that carry the state through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError
from sparsednn.importers.lowering.shifted_rows import ShiftedRows
from sparsednn.network import Activation, Layer, ShiftedLayer, activation_named

WORTH_ENTRIES, WORTH_TIMES = 2**18, 4
"""Templates are stored once where that saves so many entries, 1.5 MB of a packed layer, and all are so many times the
stored ones. With fewer a packed layer stays in a second-level cache, and both ways take as long (one thread of an EPYC with
AVX-512; pruned ones up to 1.6 times as long, since slices are padded). With more, a call of one instance takes 0.3 to 0.8 times
as long as unrolled, one of 256 instances 0.75 to 1."""


class Affine(NamedTuple):
    """A function ``matrix @ state + constant``.

    Attributes
    ----------
    matrix : ShiftedRows, shape (n, n_state)
    constant : float64 array, shape (n,)
    """

    matrix: ShiftedRows
    constant: NDArray[np.float64]

    @classmethod
    def part_of_state(cls, first: int, n: int, n_state: int) -> Affine:
        """Return `n` neurons of the state from `first` on."""
        return cls(ShiftedRows.part_of_identity(first, n, n_state), np.zeros(n))


def picked(affine: Affine, index: NDArray[np.int64], fill: float) -> Affine:
    """Return elements of a function: index : int64, shape (n,); -1 is the constant `fill`."""
    return Affine(affine.matrix.picked(index), np.where(index >= 0, affine.constant[index], fill))


def carried_rows(
    needed: Sequence[ShiftedRows], signed: NDArray[np.bool_], first: int
) -> tuple[Affine, NDArray[np.bool_], ShiftedRows]:
    """Return the rows that carry through a layer what tensors refer to.

    Parameters
    ----------
    needed : matrices, shape (n, n_state)
    signed : bool, shape (n_state,)
        Which neurons of the state can be negative.
    first : int
        Number of the layer's outputs before these.

    Returns
    -------
    rows : Affine
    signed : bool, shape (n_carried,)
        Which of them can be negative.
    after : ShiftedRows, shape (n_state, first + n_carried)
        The state in terms of the layer's outputs.
    """
    carry = np.zeros(len(signed), np.bool_)
    for matrix in needed:
        carry |= matrix.used()
    n = int(carry.sum())
    rows = ShiftedRows.renumbered(np.flatnonzero(carry), len(signed))
    after = ShiftedRows.renumbered(np.where(carry, first + np.cumsum(carry) - 1, -1), first + n)
    return Affine(rows, np.zeros(n)), signed[carry], after


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


def stored_once(entries: int, n_stored: int) -> bool:
    """Return whether a layer's templates are stored once: where that saves what is worth it (see `WORTH_ENTRIES`)."""
    return entries - n_stored >= WORTH_ENTRIES and entries >= WORTH_TIMES * n_stored


def layer_of(parts: Sequence[Affine], activation: Activation, where: str) -> Layer | ShiftedLayer:
    """Return a layer of the rows of functions, in float32.

    Raises
    ------
    ValueError
        If a weight or a bias is beyond float32; the message begins with `where`.
    """
    matrix = ShiftedRows.stacked([part.matrix for part in parts])
    bias64 = np.concatenate([part.constant for part in parts])
    with np.errstate(over="ignore"):
        data, bias = matrix.templates.data.astype(np.float32), bias64.astype(np.float32)
    for name, values in (("weight", data), ("bias", bias)):
        if not np.isfinite(values).all():
            raise DataError(f"{where}: a {name} of the layer that it becomes is beyond float32")
    rounded = matrix.with_data(data)
    if not matrix.is_plain:
        rounded = rounded.compact()
        if stored_once(rounded.nnz, rounded.templates.nnz):
            return _shifted(rounded, bias, activation)
    unrolled = rounded.csr()
    unrolled.eliminate_zeros()
    n_outputs, n_inputs = unrolled.shape  # csr, rows as outputs, is csc with columns as outputs
    indptr, indices = unrolled.indptr.astype(np.int64), unrolled.indices.astype(np.int32)
    return Layer(n_inputs, n_outputs, indptr, indices, unrolled.data, bias, activation)


def _shifted(matrix: ShiftedRows, bias: NDArray[np.float32], activation: Activation) -> ShiftedLayer:
    templates = matrix.templates
    return ShiftedLayer(
        n_inputs=matrix.n_columns,
        n_outputs=matrix.n_rows,
        starts=templates.indptr.astype(np.int64),
        relative=templates.indices.astype(np.int32),
        weights=templates.data,
        template=matrix.template.astype(np.int32),
        offset=matrix.offset.astype(np.int32),
        bias=bias,
        activation=activation,
    )
