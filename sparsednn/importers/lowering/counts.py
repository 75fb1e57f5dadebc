"""Says what is known of tensors and of the state without any matrix, from which a dry run counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Counts(NamedTuple):
    """Bounds on a tensor's matrix, without the matrix: how full it is, and where it refers to.

    Attributes
    ----------
    references : dict of tuples (entries, most of a row)
        By block of the state: how often rows refer to it, at most.
    nonnegative : bool
        Whether no element can be negative.
    whole : bool
        Whether it is the state itself, in order.
    n_templates, n_stored : int
        About how many templates its rows have, and how many entries these (see `ShiftedRows`).
    """

    references: dict[int, tuple[int, int]]
    nonnegative: bool
    whole: bool = False
    n_templates: int = 1
    n_stored: int = 1

    @property
    def entries(self) -> int:
        """Entries of all rows, at most."""
        return sum(k for k, _ in self.references.values())

    @property
    def row(self) -> int:
        """Entries of a row, at most."""
        return sum(most for _, most in self.references.values())


def scaled_templates(counts: Counts, factors: NDArray[np.float64], shape: tuple[int, ...]) -> Counts:
    """Return the counts after a multiplication: templates stay if factors differ by channel only; else each row has its own."""
    sizes = (1,) * (len(shape) - factors.ndim) + factors.shape
    if math.prod(sizes[2:]) > 1:
        return counts._replace(n_templates=math.prod(shape), n_stored=counts.entries)
    n = max(counts.n_templates, factors.size)
    return counts._replace(n_templates=n, n_stored=counts.n_stored * n // max(counts.n_templates, 1))


def added_templates(a: Counts, b: Counts) -> tuple[int, int]:
    """Return the templates and their entries of a sum: the fewer ones are in as many sums as there are of the others."""
    n = max(a.n_templates, b.n_templates, 1)
    return n, sum(one.n_stored * n // max(one.n_templates, 1) for one in (a, b))


@dataclass(frozen=True, slots=True)
class StateBlock:
    """Neurons of the state that were made together: how many."""

    size: int
