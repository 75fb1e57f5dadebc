"""Checks the tables of activations in which each neuron has its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sparsednn.arguments.arrays import as_float32
from sparsednn.errors import OptionError
from sparsednn.network.smooth import SMOOTH, Float32

FUNCTIONS = ("none", *SMOOTH)
"""Functions that are applied before the clamp; a table of activations has a function's position in this tuple."""

FUNCTION, LOW, HIGH, SLOPE = range(4)
"""Columns of a table of activations: see `Activation.table`."""


def numbers_of(name: str, value: ArrayLike) -> Float32:
    """Return limits or slopes as float32, or refuse a number that would become infinite.

    Raises
    ------
    TypeError, ValueError
        Naming them by `name`.
    """
    numbers: Float32 = as_float32(value, f"Activation.per_neuron: {name}")
    beyond = np.isinf(numbers) & np.isfinite(np.asarray(value))
    if beyond.any():
        raise OptionError(f"Activation.per_neuron: {name}: {np.asarray(value)[beyond][0]} is beyond float32; use math.inf")
    return numbers


def require_sound(table: Float32) -> None:
    """Refuse a table of another form, or with numbers that are no activation: the first such neuron is named.

    Raises
    ------
    ValueError
    """
    if table.ndim != 2 or table.shape[1] != 4:
        raise OptionError(f"Activation.of_table: the table has shape {table.shape}; (n_outputs, 4) is needed")
    if not np.isin(table[:, FUNCTION], range(len(FUNCTIONS))).all():
        raise OptionError(f"Activation.of_table: the first column has numbers of functions, 0 to {len(FUNCTIONS) - 1}")
    function, low, high, slope = table.T
    sound = (low <= high) & (low < np.inf) & (high > -np.inf) & np.isfinite(slope) & ((function == 0) | (slope == 1))
    if not sound.all():
        first = int(np.argmin(sound))
        numbers = f"low={low[first]}, high={high[first]}, slope={slope[first]}, function={FUNCTIONS[int(function[first])]}"
        raise OptionError(
            f"Activation.per_neuron: neuron {first} (from 0) has {numbers}: no finite number lies between the limits, or "
            "the slope is not finite, or not 1 with a smooth function"
        )
