"""Defines the activations that clamp, and their names: relu, clipped relu, relu6, hardtanh, identity, clip(low,high)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.arrays import LARGEST
from sparsednn.arguments.scalars import instance_of, real_number
from sparsednn.errors import OptionError, unknown

Float32 = NDArray[np.float32]
LIMITS = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "hardtanh": (-1.0, 1.0),
    "identity": (-math.inf, math.inf),
}
"""Activations that have a name, with what they clamp to."""

CLIP = re.compile(r"clip\(([^,()]+),([^,()]+)\)")


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation that clamps: ``y = min(max(z, low), high)``, for every neuron, whatever its sum.

    Raises
    ------
    TypeError
        If a limit is no real number, or `name` no text.
    ValueError
        If a limit is NaN or beyond float32, no number lies between them, or `name` is empty.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the limits, and keep them as plain numbers."""
        instance_of("Activation: name", self.name, str, "text is needed")
        if not self.name:
            raise OptionError("Activation: name is empty")
        for end in ("low", "high"):
            limit = real_number(f"Activation({self.name!r}): {end}", getattr(self, end))
            if math.isfinite(limit) and abs(limit) > LARGEST:
                raise OptionError(f"Activation({self.name!r}): {end}={limit}: beyond float32; use math.inf for no limit")
            object.__setattr__(self, end, limit)
        if not np.float32(self.low) <= np.float32(self.high) or self.low == math.inf or self.high == -math.inf:
            raise OptionError(
                f"Activation({self.name!r}): low={self.low}, high={self.high}: no finite number lies between them"
            )

    def __call__(self, z: Float32) -> Float32:
        """Apply it to an array of float32; NaN stays NaN."""
        return np.minimum(np.maximum(z, np.float32(self.low)), np.float32(self.high))


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


def identity() -> Activation:
    """Return the activation that changes nothing."""
    return Activation("identity", -math.inf, math.inf)


def activation_named(text: str, option: str = "activation") -> Activation:
    """Return the activation of a name: "relu", "relu6", "hardtanh", "identity", or "clip(low,high)" with two numbers.

    Raises
    ------
    ValueError
        If it is another name, or the limits are none.
    """
    if text in LIMITS:
        return Activation(text, *LIMITS[text])
    if given := CLIP.fullmatch(text.replace(" ", "")):
        try:
            low, high = (float(number) for number in given.groups())
        except ValueError:
            raise OptionError(f"{option}={text}: two numbers are needed, as in clip(0,1) or clip(-inf,6)") from None
        return Activation("clip", low, high)
    raise OptionError(unknown(option, text, [*LIMITS, "clip(low,high)"]))
