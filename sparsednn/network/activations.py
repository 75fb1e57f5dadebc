"""Makes the activations in use: by functions, and by their names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from sparsednn.arguments.arrays import LARGEST
from sparsednn.arguments.scalars import real_number
from sparsednn.errors import OptionError, unknown
from sparsednn.network.activation import Activation

CALL = r"(clip|leaky_relu)\(([^()]*)\)"
"""Not compiled before it is used: that would take one part in thirty of the time in which the library is imported."""


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


def leaky_relu(slope: float = 0.01) -> Activation:
    """Return the leaky rectifier: ``slope * z`` of a negative z, else z (Maas, Hannun, Ng, "Rectifier Nonlinearities Improve
    Neural Network Acoustic Models", ICML 2013). A slope for each neuron: ``Activation.per_neuron(slope=...)``.

    Raises
    ------
    TypeError, ValueError
        If `slope` is no finite number that float32 has.
    """
    return Activation("leaky_relu", -math.inf, math.inf, slope)


def identity() -> Activation:
    """Return the activation that changes nothing."""
    return Activation("identity", -math.inf, math.inf)


def sigmoid() -> Activation:
    """Return the logistic function ``1 / (1 + exp(-z))``."""
    return Activation("sigmoid", 0.0, 1.0, function="sigmoid")


def tanh() -> Activation:
    """Return the hyperbolic tangent."""
    return Activation("tanh", -1.0, 1.0, function="tanh")


def gelu() -> Activation:
    """Return the Gaussian error linear unit ``z * (1 + erf(z / sqrt(2))) / 2`` (Hendrycks, Gimpel, arXiv:1606.08415, 2016)."""
    return Activation("gelu", -math.inf, math.inf, function="gelu")


NAMED: dict[str, Callable[[], Activation]] = {
    "relu": relu,
    "relu6": lambda: Activation("relu6", 0.0, 6.0),
    "hardtanh": lambda: Activation("hardtanh", -1.0, 1.0),
    "identity": identity,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "gelu": gelu,
}
"""Activations that a name says all of."""


def activation_named(text: str, option: str = "activation") -> Activation:
    """Return the activation of a name: one of `NAMED`, or "clip(low,high)" or "leaky_relu(slope)" with numbers.

    Raises
    ------
    ValueError
        If it is another name, or the numbers are none.
    """
    if text in NAMED:
        return NAMED[text]()
    if given := re.fullmatch(CALL, text.replace(" ", "")):
        name, inside = given.groups()
        try:
            numbers = [float(number) for number in inside.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) == {"clip": 2, "leaky_relu": 1}[name]:
            return Activation("clip", numbers[0], numbers[1]) if name == "clip" else leaky_relu(numbers[0])
        raise OptionError(f"{option}={text}: numbers are needed, as in clip(0,1), clip(-inf,6) or leaky_relu(0.1)")
    raise OptionError(unknown(option, text, [*NAMED, "clip(low,high)", "leaky_relu(slope)"]))
