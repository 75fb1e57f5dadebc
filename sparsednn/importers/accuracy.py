"""Compares predicted classes with labels: accuracy and its interval, the five best, which class is taken for which."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.arrays import array_of_tensor, is_tensor
from sparsednn.errors import DataError, OptionTypeError
from sparsednn.importers.postprocessing import Postprocess, classes_of, n_classes

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

BEST = 5


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """How many of the predicted classes are right. ``float()`` of it is the share.

    Attributes
    ----------
    correct, of : int
    confusion : int64 array, shape (classes, classes)
        ``confusion[label, predicted]`` counts instances.
    correct_of_best : int, or None
        Instances whose label is among the five largest outputs; None where there are no more than five classes.
    """

    correct: int
    of: int
    confusion: NDArray[np.int64]
    correct_of_best: int | None

    @property
    def share(self) -> float:
        """Share of right classes."""
        return self.correct / self.of

    @property
    def top5(self) -> float | None:
        """Share of instances whose label is among the five largest outputs."""
        return None if self.correct_of_best is None else self.correct_of_best / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share (Wilson, "Probable inference ...", JASA 22, 1927)."""
        return accuracy_interval(self.correct, self.of)

    def __float__(self) -> float:
        """Return the share."""
        return self.share

    def __str__(self) -> str:
        """Say it in a line."""
        low, high = self.interval
        best = "" if self.top5 is None else f"; {self.top5:.2%} among the best {BEST}"
        return f"{self.share:.2%} ({self.correct:,} of {self.of:,}; 95 % interval {low:.2%} to {high:.2%}{best})"


def accuracy_interval(correct: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, as `Accuracy.interval`)."""
    n, p = of, correct / of
    middle = p + Z95**2 / (2 * n)
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return max((middle - half) / (1 + Z95**2 / n), 0.0), min((middle + half) / (1 + Z95**2 / n), 1.0)


def checked_labels(labels: Any, n: int, classes: int) -> NDArray[np.int64]:
    """Return labels as int64, shape (n,).

    Raises
    ------
    TypeError, ValueError
        If they are no whole numbers, there are more or fewer than instances, or one is no class from 0.
    """
    array = array_of_tensor(labels, "labels") if is_tensor(labels) else np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise OptionTypeError(f"labels hold {array.dtype}; whole numbers are needed, the class of each instance, from 0")
    if array.shape != (n,):
        raise DataError(f"labels have shape {array.shape}, but there are {n} instances; ({n},) is needed")
    if n == 0:
        raise DataError("there are no instances, and so no accuracy")
    if array.min() < 0 or array.max() >= classes:
        bad = int(np.flatnonzero((array < 0) | (array >= classes))[0])
        hint = "; they may count from 1: give labels - 1" if array.min() == 1 and array.max() == classes else ""
        raise DataError(f"labels: {array[bad]} (instance {bad}, from 0) is no class: there are {classes}, from 0{hint}")
    return array.astype(np.int64)


class AccuracyCount:
    """Counts right classes over batches of last activations and their labels, which are checked already."""

    def __init__(self, n_outputs: int, postprocess: Postprocess) -> None:
        self._postprocess, self._ranks = postprocess, n_outputs > BEST
        self._classes = n_classes(n_outputs, postprocess)
        self._confusion, self._best, self._of = np.zeros((self._classes, self._classes), np.int64), 0, 0

    def add(self, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Count a batch; logits : float32 (n, n_outputs), labels : int64 (n,)."""
        self._confusion += confusion_of(labels, classes_of(logits, self._postprocess), self._classes)
        self._best += among_best(logits, labels) if self._ranks else 0
        self._of += len(labels)

    def accuracy(self) -> Accuracy:
        """Return what was counted."""
        return Accuracy(int(np.trace(self._confusion)), self._of, self._confusion, self._best if self._ranks else None)


def among_best(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> int:
    """Count the instances whose label is among the five largest outputs, of equal ones the lower; logits : (n, outputs)."""
    own = logits[np.arange(len(labels)), labels][:, np.newaxis]
    before = np.arange(logits.shape[1]) < labels[:, np.newaxis]
    rank = np.count_nonzero((logits > own) | ((logits == own) & before), axis=1)
    return int(np.count_nonzero(rank < BEST))


def confusion_of(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count which label was taken for which: int64, shape (classes, classes), labels in rows."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)
