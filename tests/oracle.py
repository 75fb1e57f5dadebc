"""Naive inference: three loops over NumPy float32 scalars. Nothing in here is shared with the package."""

from __future__ import annotations

from typing import Any

import numpy as np


def infer(weights: list[Any], bias: list[Any], bias_on: str, limits: list[tuple[Any, ...]], inputs: Any) -> np.ndarray:
    """Return the last activations as a dense float32 array.

    Every output adds its terms in ascending input order, multiply and add rounded to float32 separately; terms of a zero
    activation are left out. `limits` has low and high of each layer, one of all outputs or one of each, and perhaps the slope.
    """
    y = np.array(inputs, np.float32)
    for w, b, (low, high, *slope) in zip(weights, bias, limits, strict=True):
        w = np.array(w, np.float32)
        b = np.broadcast_to(np.float32(b), w.shape[1])
        z = np.zeros((len(y), w.shape[1]), np.float32)
        for i in range(len(y)):
            for j in range(w.shape[1]):
                z[i, j] = _output(y[i], w[:, j], b[j], bias_on)
        if slope:
            z = np.where(z < 0, np.float32(slope[0]) * z, z)
        y = np.minimum(np.maximum(z, np.float32(low)), np.float32(high))
    return y


def _output(row: np.ndarray, column: np.ndarray, bias: np.float32, bias_on: str) -> np.float32:
    total = np.float32(0)
    for value, weight in zip(row, column, strict=True):
        if value != 0 and weight != 0:
            total = np.float32(total + np.float32(value * weight))
    return np.float32(total + bias) if bias_on == "all" or total != 0 else total


def categories(y: np.ndarray) -> list[int]:
    """Return the 1-based ids of rows with a sum above zero."""
    return [i + 1 for i, row in enumerate(y) if sum(float(value) for value in row) > 0]
