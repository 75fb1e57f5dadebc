"""Holds the classes that a network must predict, and predicts as the program DistSparseDNN does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.scalars import one_of

CLASSIFIERS = ("softmax", "sigmoid")
SMALLEST = np.finfo(np.float32).tiny
"""The smallest normal float32, above which a value counts for that program's softmax."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The true class of each instance, and how outputs are turned into classes.

    Attributes
    ----------
    classes : int64 array, shape (instances,)
        From 0.
    classifier : {"softmax", "sigmoid"}
        See `classes_of`.
    source : str
        The file that they are from.
    """

    classes: NDArray[np.int64]
    classifier: str
    source: str

    def correct(self, output: Any) -> int:
        """Return how many instances get their class.

        output : sparse matrix or array, float32, shape (instances, n_outputs)
        """
        return int(np.count_nonzero(classes_of(output, self.classifier) == self.classes))


def classifier_of(n_outputs: int, asked: str | None = None) -> str:
    """Return the classifier that is asked for; unless one is, that of a network with so many outputs: sigmoid for 1."""
    if asked is not None:
        return one_of("classifier", asked, CLASSIFIERS)
    return "sigmoid" if n_outputs == 1 else "softmax"


def classes_of(output: Any, classifier: str) -> NDArray[np.int64]:
    """Return the class of each instance as DistSparseDNN finds it: int64, shape (instances,), from 0.

    output : sparse matrix or array, float32, shape (instances, n_outputs)

    Only outputs that are not zero are stored there, and only these are looked at. "softmax": the largest of those above the
    smallest normal float32, the lowest of equal ones, and 0 where there is none. "sigmoid": 1 where the logistic function of
    the last stored output, in float32, is at least 0.5; 0 where none is stored.

    Raises
    ------
    ValueError
        For another classifier.
    """
    csr = sp.csr_array(output, dtype=np.float32, copy=True)
    csr.sum_duplicates()
    csr.data[csr.data <= SMALLEST if one_of("classifier", classifier, CLASSIFIERS) == "softmax" else csr.data == 0] = 0
    csr.eliminate_zeros()
    classes, filled = np.zeros(csr.shape[0], np.int64), np.flatnonzero(np.diff(csr.indptr))
    if not filled.size:
        return classes
    if classifier == "sigmoid":
        with np.errstate(over="ignore"):
            classes[filled] = 1 / (1 + np.exp(-csr.data[csr.indptr[filled + 1] - 1])) >= np.float32(0.5)
        return classes
    largest = np.maximum.reduceat(csr.data, csr.indptr[filled])
    is_largest = np.flatnonzero(csr.data == np.repeat(largest, np.diff(csr.indptr)[filled]))
    first = is_largest[np.searchsorted(is_largest, csr.indptr[filled])]
    classes[filled] = csr.indices[first]
    return classes
