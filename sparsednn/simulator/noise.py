"""Slows a noisy node down at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sparsednn.simulator.work import GroupCosts

NOISE_SPANS = 16
"""A noisy node changes its speed so often during a row group."""


class Noise:
    """Draws how much longer the parts of row groups take, one row group after the other.

    Parameters
    ----------
    most : float
        Everything takes from 1 to `most` times as long.
    seed : sequence of int
    """

    def __init__(self, most: float, seed: Sequence[int]) -> None:
        self._most, self._rng = most, np.random.default_rng(seed)

    def __call__(self, costs: GroupCosts) -> GroupCosts:
        """Return the same row group, with each part of its layers slowed down."""
        n_layers = len(costs.alone_s)
        factors = self._rng.uniform(1, self._most, NOISE_SPANS)[np.arange(n_layers) * NOISE_SPANS // max(n_layers, 1)]
        return replace(costs, alone_s=costs.alone_s * factors)

    def after(self, cut: Callable[[int, int], GroupCosts]) -> Callable[[int, int], GroupCosts]:
        """Return `cut`, which returns the costs of a row group, with the row groups slowed down."""
        return lambda start, stop: self(cut(start, stop))
