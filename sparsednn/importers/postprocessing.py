"""Turns the activations of a network's last layer into what its graph puts out: probabilities, or ids of classes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Postprocess = Literal["none", "softmax", "sigmoid", "logsoftmax", "argmax"]
POSTPROCESSES: tuple[Postprocess, ...] = ("none", "softmax", "sigmoid", "logsoftmax", "argmax")


def finish(logits: NDArray[np.float32], postprocess: Postprocess) -> NDArray[Any]:
    """Return float32 (n, outputs), computed in double precision; for "argmax" int64 (n,).

    logits : float32, shape (n, outputs)
    """
    if postprocess == "none":
        return logits
    if postprocess == "argmax":
        return _argmax(logits)
    z = logits.astype(np.float64)
    if postprocess == "sigmoid":
        smaller = np.exp(-np.abs(z))
        result = np.where(z >= 0, 1 / (1 + smaller), smaller / (1 + smaller))
    else:
        z -= z.max(axis=1, keepdims=True)
        total = np.exp(z).sum(axis=1, keepdims=True)
        result = np.exp(z) / total if postprocess == "softmax" else z - np.log(total)
    return np.asarray(result, np.float32)


def _argmax(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray(np.argmax(logits, axis=1), np.int64)


def classes_of(logits: NDArray[np.float32], postprocess: Postprocess) -> NDArray[np.int64]:
    """Return the class of each instance, from 0: int64, shape (n,).

    The largest of several outputs, the lowest of equal ones; of a single sigmoid, 1 where it is 0.5 or more.
    """
    if postprocess == "sigmoid" and logits.shape[1] == 1:
        return (logits[:, 0] >= 0).astype(np.int64)  # where the sigmoid itself is 0.5 or more
    return _argmax(logits)


def n_classes(n_outputs: int, postprocess: Postprocess) -> int:
    """Return how many classes a network of so many outputs tells apart."""
    return 2 if postprocess == "sigmoid" and n_outputs == 1 else n_outputs
