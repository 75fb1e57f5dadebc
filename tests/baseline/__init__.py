"""Records made before a change of structure, against which the code after it is held: the same categories, bits, virtual times.

``records.jsonl.gz`` has a record a line, of every kernel with every scheduler and hashing, on one and two processes, and
simulated; without what differs from run to run. ``bits.json`` has hashes of last activations. ``python -m tests.baseline`` made
both. Simulated ones are by ``calibration.json``, which came with the package then (of version 1, measured in full); another may
come with it now.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import scipy.sparse as sp

import sparsednn

FOLDER = Path(__file__).parent
RECORDS, BITS, CALIBRATION = FOLDER / "records.jsonl.gz", FOLDER / "bits.json", FOLDER / "calibration.json"


def records() -> list[dict[str, Any]]:
    """Return all records of the baseline, with configurations that name its calibration."""
    with gzip.open(RECORDS, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    for record in found:
        record["config"]["cluster"]["calibration"] = str(CALIBRATION)
    return found


def networks() -> dict[str, tuple[sparsednn.Network, sp.csr_array]]:
    """Return networks and inputs whose last activations tell one order of additions from another."""
    rng_weights = [sp.random_array((90, 130), density=0.2, rng=1), sp.random_array((130, 60), density=0.3, rng=2)]
    rng_weights = [sp.csr_array(w - 0.45 * (w != 0)) for w in rng_weights]
    inputs = sp.csr_array(sp.random_array((200, 90), density=0.3, rng=3))
    ordinary = sparsednn.Network(
        rng_weights, bias=[0.125, -0.0625], bias_on="all", activation=[sparsednn.relu(), sparsednn.identity()]
    )
    challenge = sparsednn.radixnet(1024, 24), sparsednn.challenge_inputs(1024, 500)
    return {"ordinary": (ordinary, inputs), "challenge": challenge}


def bits() -> dict[str, str]:
    """Return a SHA-256 of the last activations of each network, with each kernel and hashing."""
    found = {}
    for name, (network, inputs) in networks().items():
        for kernel in ("rowwise_first", "udc_csc", "udc_udc", "csc_csc", "csc_udc", "csr_csr"):
            for hashing in ("none", "both"):
                output = sparsednn.infer(network, inputs, kernel=kernel, hashing=hashing, threads=2, output=True).output
                assert output is not None
                digest = hashlib.sha256()
                for array in (output.indptr.astype("<i8"), output.indices.astype("<i8"), output.data):
                    digest.update(array.tobytes())
                found[f"{name} {kernel} {hashing}"] = digest.hexdigest()
    return found
