"""Turns images as a caller has them into what a network takes: scale, mean, standard deviation, order of the axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.scalars import one_of, real_number
from sparsednn.errors import OptionError, OptionTypeError

ImageLayout = Literal["as_is", "hwc", "chw"]
AXES = {"hwc": (2, 0, 1), "chw": (1, 2, 0)}
"""By the layout of the images: which of their axes is each of the network's, which has the other one."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The preprocessing of inputs: ``(x / scale - mean) / std``, in float32, after a change of the axes.

    Attributes
    ----------
    scale : float
        Pixels are divided by it: 255 makes 0..255 to 0..1.
    mean, std : tuple of float
        One for all values, or one for each channel.
    layout : {"as_is", "hwc", "chw"}
        How images come: as the network takes them; or (height, width, channels) for a network that takes (channels, height,
        width), as networks of PyTorch do; or the other way round.

    Raises
    ------
    ValueError, TypeError
        If `scale` or a standard deviation is not above zero, or something is not a finite number.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: ImageLayout = "as_is"

    def __post_init__(self) -> None:
        """Check all, and keep plain numbers."""
        object.__setattr__(self, "scale", _finite("scale", self.scale, positive=True))
        for name in ("mean", "std"):
            given: Any = getattr(self, name)
            values = given if isinstance(given, list | tuple | np.ndarray) else (given,)
            numbers = tuple(_finite(name, value, positive=name == "std") for value in values)
            if not numbers:
                raise OptionError(f"Preprocessing: {name} is empty; give one number, or one for each channel")
            object.__setattr__(self, name, numbers)
        one_of("Preprocessing: layout", self.layout, ("as_is", "hwc", "chw"))

    def require_fit(self, input_shape: tuple[int, ...]) -> None:
        """Raise ValueError if a network that takes inputs of this shape has other axes or channels."""
        if self.layout != "as_is" and len(input_shape) != 3:
            raise OptionError(
                f"Preprocessing: layout={self.layout!r} is for images of three axes; the network takes {input_shape}"
            )
        for name in ("mean", "std"):
            _by_channel(name, getattr(self, name), input_shape, self.layout)

    def image_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which instances come to a network that takes `input_shape`."""
        if self.layout == "as_is":
            return input_shape
        shape = [0, 0, 0]
        for ours, theirs in enumerate(AXES[self.layout]):
            shape[theirs] = input_shape[ours]
        return tuple(shape)

    def apply(self, x: NDArray[Any], input_shape: tuple[int, ...], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Write a batch as the network takes it into `out`, float32 (n, prod(input_shape)), and return that.

        x : numbers that float32 holds, shape (n, prod(input_shape)), as images come flattened; each step is rounded to float32
        """
        if self.layout != "as_is":
            images = x.reshape(len(x), *self.image_shape(input_shape))
            x = images.transpose(0, *(1 + axis for axis in AXES[self.layout])).reshape(x.shape)
        if self.scale == 1.0:
            np.copyto(out, x, casting="unsafe")
        else:
            np.divide(x, np.float32(self.scale), out=out, dtype=np.float32, casting="unsafe")
        for name, change, nothing in (("mean", np.subtract, 0.0), ("std", np.divide, 1.0)):
            values = getattr(self, name)
            if any(value != nothing for value in values):
                change(out, _by_channel(name, values, input_shape, self.layout), out=out)
        return out


def _by_channel(
    name: str, values: tuple[float, ...], input_shape: tuple[int, ...], layout: ImageLayout
) -> NDArray[np.float32]:  # fmt: skip
    """Return one number for each input: float32, shape (1,) or (prod(input_shape),)."""
    numbers = np.array(values, np.float32)
    if len(numbers) == 1:
        return numbers
    axis = {"hwc": 0, "chw": len(input_shape) - 1}.get(layout)
    if axis is None:
        axis = 0 if input_shape[0] == len(numbers) else len(input_shape) - 1
    if input_shape[axis] != len(numbers):
        raise OptionError(
            f"Preprocessing: {name} has {len(numbers)} numbers, but inputs of shape {input_shape} have no such axis"
        )
    shape = [1] * len(input_shape)
    shape[axis] = len(numbers)
    return np.broadcast_to(numbers.reshape(shape), input_shape).reshape(math.prod(input_shape))


def _finite(name: str, value: Any, *, positive: bool) -> float:
    number = real_number(f"Preprocessing: {name}", value)
    if not math.isfinite(number) or (positive and number <= 0):
        raise OptionError(f"Preprocessing: {name}={number}: a finite number{' above 0' if positive else ''} is needed")
    return number


def unscaled_warning(x: NDArray[Any], preprocessing: Preprocessing | None) -> str | None:
    """Return a line for inputs that look like pixels which nobody scales; most networks were trained on scaled ones."""
    if not looks_unscaled(x, preprocessing):
        return None
    return (
        f"x holds integers up to {x.max()} and the model scales nothing; if it was trained on scaled pixels, use "
        "model.with_preprocessing(scale=255), and with_preprocessing() if not"
    )


def looks_unscaled(x: NDArray[Any], preprocessing: Preprocessing | None) -> bool:
    """Return whether values are integers above 1, as pixels are, and nobody has said what to do with them."""
    return preprocessing is None and x.dtype.kind in "iu" and bool(x.size) and bool(x.max() > 1)


def require_preprocessing(value: Any) -> None:
    """Raise TypeError unless a model's preprocessing is one, or None."""
    if value is not None and not isinstance(value, Preprocessing):
        raise OptionTypeError(f"preprocessing: a Preprocessing or None is needed, not {type(value).__name__}")
