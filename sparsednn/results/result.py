"""Results and their records: what was computed, how long it took, and whether it is right."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sparsednn.results.trace import Trace

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of an inference.

    Attributes
    ----------
    categories : int64 array
        1-based ids of the instances whose last activations have a sum above zero, ascending.
    output : csr_array of float32, shape (instances, n_outputs), or None
        The last activations, if they were asked for.
    record : dict
        What was run, times in seconds, rates; ready for JSON.
    trace : Trace, or None
        What each worker did when, if it was asked for.
    """

    categories: NDArray[np.int64]
    output: sp.csr_array | None
    record: dict[str, Any]
    trace: Trace | None = None


def categories_sha256(categories: NDArray[np.int64]) -> str:
    """Return the SHA-256 of 1-based ids written as the published file has them: one a line, a newline at the end."""
    return hashlib.sha256("".join(f"{category}\n" for category in categories).encode()).hexdigest()
