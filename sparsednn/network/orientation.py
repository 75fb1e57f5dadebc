"""Tells which way round the matrices of dense layers are, from their shapes and their biases."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from sparsednn.arguments.scalars import instance_of, one_of
from sparsednn.errors import DataError, OptionError

Layout = Literal["in_out", "out_in"]


def in_out(matrices: Sequence[Any], biases: Any, layout: Layout | None) -> list[Any]:
    """Return matrices of shape (inputs, outputs), each with two dimensions.

    matrices : scipy.sparse matrices or float32 arrays in `layout`; biases : as of `Network.from_dense`.

    Raises
    ------
    ValueError
        If the layers do not fit one another or their biases; the message names the first that does not, and the other layout
        if all fit in that one. Or if nothing tells the layout: all matrices are square, and it is not said.
    TypeError
        If `biases` is no sequence.
    """
    if biases is not None:
        instance_of("biases", biases, (Sequence, np.ndarray), "a sequence with one a layer is needed")
        if len(biases) != len(matrices):
            raise OptionError(f"biases: {len(biases)} given for {len(matrices)} layers; give one a layer, None for no bias")
    if layout is not None:
        one_of("layout", layout, ("in_out", "out_in"))
    for number, matrix in enumerate(matrices, start=1):
        if matrix.ndim != 2:
            raise DataError(f"layer {number}: has shape {matrix.shape}; a matrix of two dimensions is needed")
    if layout is None and matrices and all(matrix.shape[0] == matrix.shape[1] for matrix in matrices):
        raise OptionError(
            "layout: every layer is square, so that its shape does not tell inputs from outputs; say layout='in_out' (rows are "
            "inputs, as in Keras) or layout='out_in' (as in PyTorch)"
        )
    asked: Layout = layout or "in_out"
    if wrong := _misfit(matrices, biases, asked):
        other: Layout = "out_in" if asked == "in_out" else "in_out"
        hint = f"; all layers fit with layout={other!r}" if _misfit(matrices, biases, other) is None else ""
        raise OptionError(f"{wrong} with layout={asked!r}{hint}")
    return list(matrices) if asked == "in_out" else [matrix.T for matrix in matrices]


def _misfit(matrices: Sequence[Any], biases: Any, layout: Layout) -> str | None:
    """Say which layer does not fit the one before it, or its bias, in a layout."""
    shapes = [matrix.shape if layout == "in_out" else matrix.shape[::-1] for matrix in matrices]
    for number, (shape, matrix) in enumerate(zip(shapes, matrices, strict=True), start=1):
        bias: Any = None if biases is None else biases[number - 1]
        n_biases = len(bias) if not sp.issparse(bias) and np.ndim(bias) == 1 else shape[1]
        if n_biases != shape[1]:
            return f"layer {number}: weights of shape {matrix.shape} have {shape[1]} outputs, but {n_biases} biases,"
    for number, (before, after) in enumerate(itertools.pairwise(shapes), start=2):
        if before[1] != after[0]:
            shown = f"layer {number}: weights of shape {matrices[number - 1].shape}"
            return f"{shown} have {after[0]} inputs, but layer {number - 1} has {before[1]} outputs,"
    return None
