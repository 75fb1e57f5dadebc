"""Makes the networks and inputs of the benchmark of walks: the challenge's, and layers that keep their occupancy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

import sparsednn
from sparsednn.network import Network

DEGREE = 32
"""Connections of each neuron, as in the challenge's networks."""

CHALLENGE, OCCUPANCY = "challenge", "occupancy"
DEAD = -1e6
"""A bias that nothing gets over."""


@dataclass(frozen=True, slots=True)
class WalkCase:
    """A network, and instances that are taken through it as one row group.

    Attributes
    ----------
    family : {"challenge", "occupancy"}
    neurons, layers, instances : int
    alive : int
        Instances with an entry at all; of "occupancy", at every layer.
    occupancy : float or None
        Share of the columns of activations with an entry, at every layer; None: as it comes, with inputs drawn at random.
    """

    family: str
    neurons: int
    layers: int
    instances: int
    alive: int
    occupancy: float | None

    def made(self) -> tuple[Network, sp.csr_array]:
        """Return the network and the inputs (canonical, float32)."""
        return self._challenge() if self.family == CHALLENGE else self._constant()

    def _challenge(self) -> tuple[Network, sp.csr_array]:
        """The challenge's network, and instances that are drawn from its first 60,000; or instances without an entry."""
        network = sparsednn.radixnet(self.neurons, self.layers)
        if self.alive == 0:
            return network, sp.csr_array((self.instances, self.neurons), dtype=np.float32)
        inputs = sparsednn.challenge_inputs(self.neurons)
        chosen = np.random.default_rng(0).choice(inputs.shape[0], self.instances, replace=False)
        return network, inputs[np.sort(chosen)]

    def _constant(self) -> tuple[Network, sp.csr_array]:
        """Layers of random connections in which the same neurons are alive before and after each layer, for the same instances.

        Each neuron has itself among its inputs; those that are to have no entry have a bias that lets nothing through.
        """
        assert self.occupancy is not None
        rng, n = np.random.default_rng(1), self.neurons
        others = (np.arange(n)[:, None] + np.cumsum(rng.integers(1, max(n // DEGREE, 2), (n, DEGREE - 1)), axis=1)) % n
        indices = np.sort(np.concatenate([np.arange(n)[:, None], others], axis=1), axis=1)
        weights = sp.csc_array(
            (np.full(n * DEGREE, 1 / DEGREE, np.float32), indices.reshape(-1), np.arange(n + 1) * DEGREE), (n, n)
        )
        living = rng.choice(n, round(self.occupancy * n), replace=False)
        bias = np.full(n, DEAD, np.float32)
        bias[living] = 0
        network = Network(
            [weights] * self.layers, bias=[bias] * self.layers, bias_on="all", activation=sparsednn.clipped_relu(32)
        )
        inputs = np.zeros((self.instances, n), np.float32)
        inputs[: self.alive, living] = rng.random((self.alive, len(living)), np.float32) + np.float32(1)
        return network, sp.csr_array(inputs)


def cases(toy: bool) -> Iterator[WalkCase]:
    """Yield those that are measured."""
    neurons, layers = 1024, 6 if toy else 120
    for instances in (17,) if toy else (17, 134):
        yield WalkCase(CHALLENGE, neurons, layers, instances, 0, None)
        yield WalkCase(CHALLENGE, neurons, layers, instances, instances, None)
    shares = (0.05, 0.5) if toy else (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
    for neurons, layers in ((64, 2),) if toy else ((1024, 60), (16384, 4)):
        for alive in (1,) if toy else (1, 4):
            for share in shares:
                yield WalkCase(OCCUPANCY, neurons, layers, 17, alive, share)
