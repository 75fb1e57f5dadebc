"""Says what is known of tensors and of the state without any matrix, from which a dry run counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


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
    """

    references: dict[int, tuple[int, int]]
    nonnegative: bool
    whole: bool = False


@dataclass(frozen=True, slots=True)
class StateBlock:
    """Neurons of the state that were made together: how many."""

    size: int
