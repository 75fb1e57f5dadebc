"""Defines activations: a slope below zero or a smooth function, then a clamp; for a whole layer, or for each neuron."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsednn.arguments.arrays import LARGEST
from sparsednn.arguments.scalars import instance_of, one_of, real_number
from sparsednn.errors import OptionError
from sparsednn.network.activation_tables import FUNCTIONS, HIGH, LOW, numbers_of, require_sound
from sparsednn.network.immutable import Immutable
from sparsednn.network.smooth import SMOOTH

Float32 = NDArray[np.float32]


@dataclass(slots=True, eq=False, repr=False)
class Activation(Immutable):
    """An activation: ``y = min(max(f(z), low), high)``, for every neuron, whatever its sum.

    Of a negative z, f makes ``slope * z``, rounded to float32; of any other z itself. Or f is a smooth function, computed in
    double precision and rounded to float32 (see `sparsednn.network.smooth`). `per_neuron` gives each neuron its own.

    Parameters
    ----------
    name : str
    low, high : float
        Limits. Where each neuron has its own: the lowest and the highest of all.
    slope : float
        1 leaves negative numbers as they are, 0 makes zeros of them.
    function : {"none", "sigmoid", "tanh", "gelu"}
        A smooth function in place of the slope.

    Attributes
    ----------
    neurons : float32 array, shape (n_outputs, 4), or None
        The table of what each neuron has (see `table`); None where all have the same.

    Raises
    ------
    TypeError
        If a limit or the slope is no real number, or `name` no text.
    ValueError
        If a number is NaN or beyond float32, no number lies between the limits, the slope is infinite, `name` is empty, the
        function is unknown, or a smooth one is given a slope.
    """

    name: str
    low: float
    high: float
    slope: float = 1.0
    function: str = "none"
    neurons: Float32 | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Check the numbers, and keep them as plain ones."""
        instance_of("Activation: name", self.name, str, "text is needed")
        if not self.name:
            raise OptionError("Activation: name is empty")
        for one in ("low", "high", "slope"):
            number = real_number(f"Activation({self.name!r}): {one}", getattr(self, one))
            if math.isfinite(number) and abs(number) > LARGEST:
                raise OptionError(f"Activation({self.name!r}): {one}={number}: beyond float32; use math.inf for no limit")
            object.__setattr__(self, one, number)
        if not np.float32(self.low) <= np.float32(self.high) or self.low == math.inf or self.high == -math.inf:
            raise OptionError(
                f"Activation({self.name!r}): low={self.low}, high={self.high}: no finite number lies between them"
            )
        one_of(f"Activation({self.name!r}): function", self.function, FUNCTIONS)
        if math.isinf(self.slope) or (self.function != "none" and self.slope != 1):
            raise OptionError(f"Activation({self.name!r}): slope={self.slope}: must be finite, and 1 with a smooth function")

    @classmethod
    def per_neuron(
        cls,
        low: ArrayLike = -math.inf,
        high: ArrayLike = math.inf,
        slope: ArrayLike = 1.0,
        function: ArrayLike = "none",
        name: str = "per_neuron",
    ) -> Activation:
        """Return an activation that is another one for each of a layer's outputs.

        Parameters
        ----------
        low, high, slope : float, or arrays of numbers, shape (n_outputs,)
            Limits and slopes as of one activation; one of the four must be an array.
        function : str, or a sequence of str, shape (n_outputs,)
            Names of functions. The slopes of neurons with a smooth one must be 1.

        Raises
        ------
        TypeError, ValueError
            As for one activation, the message naming the first neuron that is at fault; or if lengths differ.
        """
        names = np.asarray(function)
        for one in np.unique(names):
            one_of("Activation.per_neuron: function", str(one), FUNCTIONS)
        numbers = np.zeros(names.shape, np.float32)
        for number, one in enumerate(FUNCTIONS):
            numbers[names == one] = number
        columns = [numbers, numbers_of("low", low), numbers_of("high", high), numbers_of("slope", slope)]
        lengths = {column.shape for column in columns if column.ndim}
        if len(lengths) != 1 or len(shape := lengths.pop()) != 1:
            shapes = ", ".join(str(column.shape) for column in columns)
            raise OptionError(
                f"Activation.per_neuron: function, low, high and slope have shapes {shapes}; give arrays of one length, shape "
                "(n_outputs,), or numbers for all neurons"
            )
        return cls.of_table(np.stack([np.broadcast_to(column, shape) for column in columns], axis=1), name)

    @classmethod
    def of_table(cls, table: Float32, name: str = "per_neuron") -> Activation:
        """Return the activation that has a table: float32 (n_outputs, 4), as `table` returns it and files keep it.

        Raises
        ------
        ValueError
            As of `per_neuron`; or if the table has another shape, or a number that no function has.
        """
        own = np.array(table, np.float32)
        require_sound(own)
        low, high = own[:, LOW].min(initial=np.inf), own[:, HIGH].max(initial=-np.inf)
        made = cls(name, low, high) if len(own) else cls(name, -math.inf, math.inf)
        own.flags.writeable = False
        object.__setattr__(made, "neurons", own)
        return made

    @property
    def is_clamp(self) -> bool:
        """Whether it is ``min(max(z, low), high)`` with the same limits for all neurons."""
        return self.neurons is None and self.slope == 1 and self.function == "none"

    def table(self, n_outputs: int) -> Float32:
        """Return what each neuron has: its function's number in `FUNCTIONS`, low, high, slope; float32 (n_outputs, 4)."""
        if self.neurons is not None:
            return self.neurons
        one = np.array([FUNCTIONS.index(self.function), self.low, self.high, self.slope], np.float32)
        return np.broadcast_to(one, (n_outputs, 4))

    def require_outputs(self, n_outputs: int, name: str, *, same: bool) -> None:
        """Refuse a table of another length than a layer has outputs; or any, if all outputs must be the `same`.

        Raises
        ------
        ValueError
            Naming the layer's activation by `name`.
        """
        if self.neurons is None or (len(self.neurons) == n_outputs and not same):
            return
        wanted = (
            "this layer stores repeated columns once: give one activation for all" if same else f"the layer has {n_outputs}"
        )
        raise OptionError(f"{name} {self.name!r} is given for {len(self.neurons)} outputs; {wanted}")

    def taken(self, neurons: NDArray[np.integer]) -> Activation:
        """Return the activation of some outputs, in their order; int64 (n,)."""
        return self if self.neurons is None else Activation.of_table(self.neurons[neurons], self.name)

    def __call__(self, z: Float32) -> Float32:
        """Apply it to float32 of any shape (its last axis: the outputs, if these differ); NaN stays NaN."""
        if self.is_clamp:
            return np.minimum(np.maximum(z, np.float32(self.low)), np.float32(self.high))
        function, low, high, slope = (self.table(1)[0] if self.neurons is None else self.neurons).T
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            y = np.where(z < 0, slope * z, z)
            for number, smooth in enumerate(SMOOTH.values(), start=1):
                if (function == number).any():
                    y = np.where(function == number, smooth(z), y)
            clamped: Float32 = np.minimum(np.maximum(y, low), high) + np.float32(0)  # minus zero has other bits
        return clamped

    def _facts(self) -> tuple[object, ...]:
        facts = (self.name, self.low, self.high, self.slope, self.function)
        return (*facts, None if self.neurons is None else self.neurons.tobytes())

    def __eq__(self, other: object) -> bool:
        """Whether name, numbers and functions are the same."""
        return isinstance(other, Activation) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def __repr__(self) -> str:
        """Name the numbers in a line; of neurons that have their own, how many there are."""
        more = f", slope={self.slope!r}" if self.slope != 1 else ""
        more += f", function={self.function!r}" if self.function != "none" else ""
        more += f", {len(self.neurons)} neurons" if self.neurons is not None else ""
        return f"Activation(name={self.name!r}, low={self.low!r}, high={self.high!r}{more})"
