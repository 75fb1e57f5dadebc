"""Holds the result of an inference: categories, output, record, trace."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.results.record import RunRecord
from sparsednn.system.json_fields import to_json

if TYPE_CHECKING:
    from sparsednn.results.trace import Trace


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The outcome of an inference.

    Attributes
    ----------
    categories : int64 array
        1-based ids of the instances whose last activations have a sum above zero, ascending.
    output : csr_array of float32, shape (instances, n_outputs), or None
        The last activations, if they were asked for.
    run_record : RunRecord
        Description of the run, times in seconds, rates.
    trace : Trace, or None
        Timeline of each worker, if it was asked for.
    record : dict
        The same as `run_record`, as plain values ready for JSON.
    """

    categories: NDArray[np.int64]
    output: sp.csr_array | None
    run_record: RunRecord
    trace: Trace | None = None
    record: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Write the record down as plain values."""
        object.__setattr__(self, "record", to_json(self.run_record))


def categories_sha256(categories: NDArray[np.int64]) -> str:
    """Return the SHA-256 of 1-based ids written as the published file has them: one a line, a newline at the end."""
    return hashlib.sha256("".join(f"{category}\n" for category in categories).encode()).hexdigest()
