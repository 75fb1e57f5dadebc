"""Computes sigmoid, tanh and gelu of arrays so that they have the same bits everywhere.

In double precision, by additions, multiplications and divisions, which IEEE 754 rounds in one way only; the functions of
mathematical libraries differ in their last bits. Results are within 1e-10 of the exact ones, relative to them, before they are
rounded to float32. `backends.common.kernels.smooth` takes the same steps for one number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SMALLEST = -104.0
"""exp of less is below the smallest float32."""

SQUARINGS = 12
"""exp(x) is ``exp(x / 2**12)``, squared so often."""

ERFCX_AT = 3.0
ERFCX = (
    0.3580023023651943, 0.29446481759382986, 0.1967427853893721, 0.10348909222066019, 0.03984259372825805,
    0.00894235710158012, -0.00040419280818016737, -0.0010110857049526786, -0.00018255312875481628, 9.156817279105524e-05,
    3.537535170200245e-05, -9.144262532293005e-06, -5.2254286418285295e-06, 7.976283918510854e-07, 5.117912611311723e-07,
)  # fmt: skip
"""``exp(x**2) * erfc(x)`` is t times a polynomial in 2 t - 1 for x >= 0, with ``t = 3 / (3 + x)``; its coefficients, from the
lowest power, are a least-squares fit at 400 Chebyshev points, 3e-11 off at most."""


def _reduced(x: Float64) -> Float64:
    """Return the argument of the Taylor series: x / 2**12, of an x that is not too small."""
    return np.where(x < SMALLEST, SMALLEST, x) * 2.0**-SQUARINGS


def exponential(x: Float64) -> Float64:
    """Return exp(x) for x <= 0."""
    t = _reduced(x)
    y = 1 + t * (1 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720))))))
    for _ in range(SQUARINGS):
        y = y * y
    return y


def exponential_minus_one(x: Float64) -> Float64:
    """Return exp(x) - 1 for x <= 0, exact where that is small: ``exp(2 x) - 1`` is ``(exp(x) - 1) * (exp(x) + 1)``."""
    t = _reduced(x)
    y = t * (1 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720))))))
    for _ in range(SQUARINGS):
        y = y * (y + 2)
    return y


def sigmoid(z: Float32) -> Float32:
    """Return ``1 / (1 + exp(-z))``: of two forms the one whose exponential does not overflow."""
    x = z.astype(np.float64)
    e = exponential(-np.abs(x))
    return (np.where(x < 0, e, 1.0) / (1 + e)).astype(np.float32)


def tanh(z: Float32) -> Float32:
    """Return ``(1 - exp(-2 z)) / (1 + exp(-2 z))`` of the magnitude, with the sign of z."""
    x = z.astype(np.float64)
    e = exponential_minus_one(-2 * np.abs(x))
    y = e / (e + 2)
    return np.where(x < 0, y, -y).astype(np.float32)


def gelu(z: Float32) -> Float32:
    """Return ``z * (1 - erfc(z / sqrt(2)) / 2)``, of a negative z ``z * erfc(-z / sqrt(2)) / 2``, where nothing cancels."""
    x = z.astype(np.float64)
    a = np.abs(x) * 0.7071067811865476
    a = np.where(a > 20.0, 20.0, a)
    t = ERFCX_AT / (ERFCX_AT + a)
    s, p = 2 * t - 1, np.zeros_like(t)
    for coefficient in reversed(ERFCX):
        p = p * s + coefficient
    tail = 0.5 * (exponential(-a * a) * (t * p))
    return (np.where(x < -40.0, -40.0, x) * np.where(x < 0, tail, 1 - tail)).astype(np.float32)


SMOOTH = {"sigmoid": sigmoid, "tanh": tanh, "gelu": gelu}
"""By name, in the order of their numbers, which start from 1."""
