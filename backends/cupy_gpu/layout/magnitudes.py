"""Bounds the magnitudes of activations, to show of a layer that its weight may be applied to its sums in place of its terms."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sparsednn.network import Layer

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)

ROUNDING = 2.0
"""More than what the roundings of a sum make of it, of `MOST_TERMS` at most."""

MOST_TERMS = 2**20


class Magnitudes(NamedTuple):
    """What activations are, as far as is known whatever the inputs are.

    Attributes
    ----------
    least : float
        No activation but zero has a smaller magnitude; 0 where nothing is known.
    most : float
        None has a larger one, unless it is not a number; infinite where nothing is known.
    """

    least: float
    most: float


UNKNOWN = Magnitudes(0.0, math.inf)


def after(layer: Layer, *, bias_everywhere: bool) -> Magnitudes:
    """Bound a layer's activations, of any inputs.

    A sum t that is not zero becomes t + b, rounded. If t is half as large as b at least, both are multiples of half a unit in
    the last place of b, and so is what is left of them; if it is smaller, half of b is left. Without a bias nothing is known.
    """
    if not layer.activation.is_clamp or layer.n_outputs == 0:
        return UNKNOWN
    biases = np.abs(np.asarray(layer.bias, np.float64))
    least_bias, limits = float(biases.min()), [abs(layer.activation.low), abs(layer.activation.high)]
    if least_bias == 0 or not math.isfinite(float(biases.max())):
        return Magnitudes(0.0, max(limits))
    last_place = math.ldexp(1.0, max(math.frexp(least_bias)[1] - 24, -149))
    found = [last_place / 2, *([least_bias] if bias_everywhere else []), *(limit for limit in limits if limit > 0)]
    return Magnitudes(min(found), max(limits))


def scales_after_adding(weight: float, most_terms: int, before: Magnitudes) -> bool:
    """Say whether sums of activations, times a weight, have the bits of sums of activations times the weight.

    Products with a power of two are exact if none is denormal. The sums then differ by that factor at every step: a sum of two
    numbers is rounded alike where both are normal, and is exact where one is denormal (Hauser, "Handling Floating-Point
    Exceptions in Numeric Programs", ACM TOPLAS 18(2), 1996), as long as none is infinite.

    Parameters
    ----------
    weight : float
        That of all connections of a layer.
    most_terms : int
        Connections of an output at most.
    before : Magnitudes
        The inputs'.
    """
    if abs(math.frexp(weight)[0]) != 0.5 or most_terms > MOST_TERMS:
        return False
    exact = before.least * abs(weight) >= SMALLEST_NORMAL
    return exact and ROUNDING * most_terms * before.most * max(abs(weight), 1.0) <= LARGEST
