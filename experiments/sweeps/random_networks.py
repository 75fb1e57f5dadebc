"""Draws random sparse networks without structure: unequal weights, a bias for each neuron, no repeated columns.

They lack what speeds the challenge up (equal columns, equal instances, saturated instances), so that kernels are seen as they
are. All is drawn from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from sparsednn import Network, clipped_relu, relu
from sparsednn.network import BiasOn

BIAS_SCALE = 0.1
"""Standard deviation of the biases; activations are of the order of 1."""


@dataclass(frozen=True, slots=True)
class RandomNetwork:
    """The parameters by which a network and its inputs are drawn.

    Attributes
    ----------
    widths : tuple of int
        Neurons before the first layer and after each one.
    density : float
        The probability of each connection.
    input_density : float
        The probability of each entry of the input.
    bias_on : {"all", "nonzero"}
    maximum : float, optional
        Where the rectifier is clipped; None for one that is not.
    n_instances : int, optional
        Instances that the network is meant to be run on; None for as many as make enough work.
    """

    widths: tuple[int, ...]
    density: float
    input_density: float = 0.5
    bias_on: BiasOn = "all"
    maximum: float | None = None
    n_instances: int | None = None

    @property
    def name(self) -> str:
        """Say it in short."""
        n_layers = len(self.widths) - 1
        if len(set(self.widths)) == 1:
            shape = f"{self.widths[0]} x {n_layers}"
        else:
            shape = f"{'-'.join(str(width) for width in sorted(set(self.widths)))} x {n_layers}"
        activation = "relu" if self.maximum is None else f"relu <= {self.maximum:g}"
        return f"{shape}, {self.density:.0%}, {activation}, bias {self.bias_on}, input {self.input_density:.0%}"

    def network(self, seed: int = 0) -> Network:
        """Draw the weights.

        Weights are normal, with the scale that keeps the size of activations from layer to layer where the rectifier takes away
        half of them (He et al., "Delving deep into rectifiers", ICCV 2015), so that they neither die out nor overflow.
        """
        rng = np.random.default_rng([seed, *self.widths])
        weights = [_weights(rng, n, m, self.density) for n, m in pairwise(self.widths)]
        bias = [rng.normal(scale=BIAS_SCALE, size=m).astype(np.float32) for m in self.widths[1:]]
        activation = relu() if self.maximum is None else clipped_relu(self.maximum)
        return Network(weights, bias=bias, bias_on=self.bias_on, activation=activation)

    def inputs(self, n_instances: int, seed: int = 0) -> sp.csr_array:
        """Draw instances with entries in [0, 1): float32, shape (n_instances, widths[0])."""
        rng = np.random.default_rng([seed, n_instances, self.widths[0]])
        values = rng.random((n_instances, self.widths[0]), np.float32)
        kept = rng.random(values.shape, np.float32) < self.input_density
        return sp.csr_array(np.where(kept, values, np.float32(0)))


def _weights(rng: np.random.Generator, n_inputs: int, n_outputs: int, density: float) -> sp.csc_array:
    """A matrix with about ``density * n_inputs`` connections in each column, at most one to each input."""
    taken = rng.random((n_outputs, n_inputs), np.float32) < density
    columns, rows = np.nonzero(taken)
    scale = np.sqrt(2 / max(density * n_inputs, 1))
    values = (rng.standard_normal(len(rows), np.float32) * scale).astype(np.float32)
    return sp.csc_array((values, (rows, columns)), shape=(n_inputs, n_outputs))


def uniform(neurons: int, layers: int) -> tuple[int, ...]:
    """Return the widths of a network whose layers are all as wide."""
    return (neurons,) * (layers + 1)


FAMILY = (
    RandomNetwork(uniform(512, 12), 0.03),
    RandomNetwork(uniform(512, 12), 0.3, bias_on="nonzero"),
    RandomNetwork(uniform(1024, 12), 0.01),
    RandomNetwork(uniform(1024, 12), 0.03, input_density=0.05, bias_on="nonzero"),
    RandomNetwork(uniform(1024, 12), 0.1, maximum=1.0),
    RandomNetwork(uniform(1024, 12), 0.3),
    RandomNetwork(uniform(2048, 12), 0.01, bias_on="nonzero"),
    RandomNetwork(uniform(2048, 12), 0.1),
    RandomNetwork(uniform(4096, 12), 0.01),
    RandomNetwork(uniform(4096, 12), 0.03, input_density=0.02),
    RandomNetwork(uniform(4096, 2), 0.3),
    RandomNetwork((1024, 300, 2000) * 4, 0.1),
    RandomNetwork(uniform(1024, 12), 0.1, n_instances=64),
    RandomNetwork(uniform(1024, 12), 0.1, n_instances=8),
)
"""From 1 % to 30 %, narrow and wide, dense and sparse inputs, both kinds of bias, clipped or not, widths that vary, and few
instances, where there is little to share out."""

QUICK_FAMILY = (
    RandomNetwork(uniform(64, 4), 0.1),
    RandomNetwork((40, 30, 70), 0.3, input_density=0.05, bias_on="nonzero", maximum=1.0),
)
"""Two that take no time, to try whether all is there."""
