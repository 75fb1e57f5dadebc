"""Computes sigmoid, tanh and gelu of one number, with the bits of `sparsednn.network.smooth`: the same steps in the same order.

The constants are that module's, which kernels do not import; a test compares the bits.
"""

from __future__ import annotations

import numpy as np

from backends.common.jit import inline

SMALLEST, SQUARINGS, SHRINK = -104.0, 12, 2.0**-12


@inline
def exponential(x):
    """Return exp(x) of a float64 x <= 0."""
    t = (SMALLEST if x < SMALLEST else x) * SHRINK
    y = 1 + t * (1 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720))))))
    for _ in range(SQUARINGS):
        y = y * y
    return y


@inline
def exponential_minus_one(x):
    """Return exp(x) - 1 of a float64 x <= 0."""
    t = (SMALLEST if x < SMALLEST else x) * SHRINK
    y = t * (1 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720))))))
    for _ in range(SQUARINGS):
        y = y * (y + 2)
    return y


@inline
def sigmoid(z):
    """Return ``1 / (1 + exp(-z))``; float32."""
    x = np.float64(z)
    e = exponential(-abs(x))
    return np.float32((e if x < 0 else 1.0) / (1 + e))


@inline
def tanh(z):
    """Return the hyperbolic tangent; float32."""
    x = np.float64(z)
    e = exponential_minus_one(-2 * abs(x))
    y = e / (e + 2)
    return np.float32(y if x < 0 else -y)


@inline
def gelu(z):
    """Return ``z * (1 + erf(z / sqrt(2))) / 2``; float32."""
    x = np.float64(z)
    a = abs(x) * 0.7071067811865476
    a = 20.0 if a > 20.0 else a
    t = 3.0 / (3.0 + a)
    s, p = 2 * t - 1, 5.117912611311723e-07
    p = p * s + 7.976283918510854e-07
    p = p * s + -5.2254286418285295e-06
    p = p * s + -9.144262532293005e-06
    p = p * s + 3.537535170200245e-05
    p = p * s + 9.156817279105524e-05
    p = p * s + -0.00018255312875481628
    p = p * s + -0.0010110857049526786
    p = p * s + -0.00040419280818016737
    p = p * s + 0.00894235710158012
    p = p * s + 0.03984259372825805
    p = p * s + 0.10348909222066019
    p = p * s + 0.1967427853893721
    p = p * s + 0.29446481759382986
    p = p * s + 0.3580023023651943
    tail = 0.5 * (exponential(-a * a) * (t * p))
    share = tail if x < 0 else 1 - tail
    return np.float32((-40.0 if x < -40.0 else x) * share)
