"""Lists the published claims, each beside its measured and simulated values, with a verdict.

A claim is a function of the runs that there are; what it needs and is not there makes it "not tested". Numbers in texts come
from the records. The claims are those of the published system DistSparseDNN (C++ and MPI): its paper on stragglers, and the
one on hashing.
"""

from __future__ import annotations

from experiments.report.claim import Claim, Runs
from experiments.report.speed import faster_on_average, published_run, super_linear
from experiments.report.threads import cache_use, less_synchronisation, no_contention, small_overhead, zero_movement

CLAIMS = (
    faster_on_average,
    published_run,
    super_linear,
    cache_use,
    no_contention,
    less_synchronisation,
    small_overhead,
    zero_movement,
)


def all_claims(runs: Runs) -> list[Claim]:
    """Return all claims, in the order of the report."""
    return [claim(runs) for claim in CLAIMS]
