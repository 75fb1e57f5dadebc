"""Names the networks of the Sparse DNN Graph Challenge."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from typing import NamedTuple


class Challenge(NamedTuple):
    """Says that a network is one of the twelve of the Sparse DNN Graph Challenge."""

    neurons: int
    layers: int
