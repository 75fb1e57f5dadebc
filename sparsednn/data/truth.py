"""Returns the categories that the Graph Challenge's networks must find, and checks categories against them.

`truth/neuron{n}-categories.tsv` in this package: the 1-based ids for each width; they are the same for 120, 480 and
1920 layers. Those of
1024 neurons are the published ids; for 16384 and 65536 only the count was at hand (the ids are the reference's, and there
are as many as published); those of 4096 are the reference's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.network import Network, NetworkOutline

SOURCES = {1024: "published_ids", 4096: "own_reference", 16384: "published_count", 65536: "published_count"}


def challenge_categories(neurons: int) -> NDArray[np.int64]:
    """Return the true categories (1-based ids, ascending) of all 60,000 instances for one of the challenge's widths."""
    text = (Path(__file__).parent / "truth" / f"neuron{neurons}-categories.tsv").read_text()
    return np.array(text.split(), np.int64)


def check(
    categories: NDArray[np.int64], instances: int, network: Network | NetworkOutline, challenge_data: bool,
    given: NDArray[np.int64] | None,
) -> dict[str, Any]:  # fmt: skip
    """Compare categories with the truth, where there is one.

    Parameters
    ----------
    categories : int64 array
        1-based ids that were found.
    instances : int
        How many instances were run; the challenge's truth is cut off there.
    network : Network or NetworkOutline
    challenge_data : bool
        Whether the instances are the challenge's.
    given : int64 array, optional
        The truth that the user gave for these instances, which comes first; it is not cut off.

    Returns
    -------
    dict
        checked (bool), source ("given", one of `SOURCES`, or None), match (bool or None); if it is checked also kind
        ("categories"), correct (int: instances that are a category by both, or by neither) and of (int).
    """
    if given is not None:
        return _compared("given", categories, given, instances)
    if challenge_data and network.challenge is not None:
        truth, source = challenge_categories(network.challenge.neurons), SOURCES[network.challenge.neurons]
        return _compared(source, categories, truth[truth <= instances], instances)
    return {"checked": False, "source": None, "match": None}


def _compared(source: str, found: NDArray[np.int64], true: NDArray[np.int64], instances: int) -> dict[str, Any]:
    wrong = int(np.count_nonzero(np.setxor1d(found, true) <= instances))
    match = bool(np.array_equal(found, true))
    return {
        "checked": True, "source": source, "match": match, "kind": "categories", "correct": instances - wrong, "of": instances,
    }  # fmt: skip
