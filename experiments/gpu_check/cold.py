"""Times the first inference of a process, with nothing compiled, and the next ones."""

from __future__ import annotations

import os
import tempfile
from statistics import median
from time import perf_counter
from typing import Any

import sparsednn
from sparsednn.backend import load_backend
from sparsednn.data.challenge_inputs import N_INSTANCES

CACHES = ("SPARSEDNN_CACHE", "CUPY_CACHE_DIR")
"""Variables that say where compiled kernels are kept, this project's and CuPy's."""

INFERENCES = 4


def cold(toy: bool, instances: int | None) -> dict[str, Any]:
    """Infer with 1024 x 120 in this process, which must have done nothing yet, with empty caches; and then again.

    Returns
    -------
    dict
        Seconds: ``backend_s`` (CuPy is imported, CUDA begins), ``compile_s`` (all kernels are compiled and called once),
        ``first_s`` (the first inference behind that) and ``later_s`` (the median of the next ones), ``compiled_s`` (what
        preparing costs the second time).
    """
    network = sparsednn.radixnet(1024, 120)
    inputs = sparsednn.challenge_inputs(1024, instances=60 if toy else instances or N_INSTANCES)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= dict.fromkeys(CACHES, folder)
        began_s = perf_counter()
        backend = load_backend("cupy")
        backend_s = perf_counter() - began_s
        first, again = (
            sparsednn.infer(network, inputs, backend=backend, repeats=INFERENCES).record["seconds"] for _ in range(2)
        )
    return {
        "backend_s": backend_s, "compile_s": first["compile"], "first_s": first["inference"][0],
        "later_s": median(first["inference"][1:]), "compiled_s": again["compile"],
    }  # fmt: skip
