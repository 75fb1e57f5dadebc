"""Defines the outline of a network: its shape, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparsednn.network.challenge import Challenge


@dataclass(frozen=True, eq=False)
class NetworkOutline:
    """The shape of a network: all that an inference needs to know beside its packed layers.

    Attributes
    ----------
    n_inputs : int
        Neurons of the input.
    ends : tuple of int64 arrays, shape (n_outputs + 1,)
        For each layer, where each output neuron's connections start. Layers may share one array.
    challenge : Challenge, optional
        The network of the Graph Challenge that it is.
    """

    n_inputs: int
    ends: tuple[NDArray[np.int64], ...]
    challenge: Challenge | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.ends)

    @property
    def n_outputs(self) -> int:
        """Neurons of the last layer."""
        return len(self.ends[-1]) - 1

    @property
    def widest(self) -> int:
        """Neurons of the input, or of the layer that has the most."""
        return max(self.n_inputs, max(len(ends) for ends in self.ends) - 1)

    @cached_property
    def nnz(self) -> int:
        """Number of connections of all layers."""
        return sum(int(ends[-1]) for ends in self.ends)
