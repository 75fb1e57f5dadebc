"""Names the networks of the Sparse DNN Graph Challenge."""

from __future__ import annotations

from typing import NamedTuple


class Challenge(NamedTuple):
    """Says that a network is one of the twelve of the Sparse DNN Graph Challenge."""

    neurons: int
    layers: int
