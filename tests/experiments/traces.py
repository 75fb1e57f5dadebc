"""Made-up traces of the same work, in which worker 1 has far more own rows than the others; and of a large machine."""

from __future__ import annotations

from itertools import pairwise

from sparsednn.results.trace import Span, Trace

OWN_S = (0.42, 1.2, 0.5, 0.62)
"""Seconds that one worker takes for each worker's own rows."""


def straggler() -> Trace:
    """Data parallelism: three workers of four stop early while worker 1 goes on."""
    spans = []
    for worker, own_s in enumerate(OWN_S):
        spans.append(Span(0, worker, "data", 0.0, own_s, row_group=worker, first_layer=0, last_layer=120))
        spans.append(Span(0, worker, "idle", own_s, OWN_S[1]))
    return Trace(spans, {"scheduler": "data", "kernel": "csc", "simulated": False})


def cured() -> Trace:
    """Data, then model parallelism: those that are through sleep until worker 1 takes them into its team.

    The team of two, three and four halves, thirds and quarters what is left of row group 1, and waits for 10 % of its time.
    """
    phases = [(0.44, 0.52, (0, 1)), (0.52, 0.64, (0, 1, 2)), (0.64, 0.721, (0, 1, 2, 3))]
    joins = {0: 0.44, 2: 0.52, 3: 0.64}
    spans = [Span(0, 1, "data", 0.0, 0.43998, row_group=1, first_layer=0, last_layer=42)]
    for worker, at in joins.items():
        spans.append(Span(0, worker, "data", 0.0, OWN_S[worker], row_group=worker, first_layer=0, last_layer=120))
        spans.append(Span(0, worker, "wait", OWN_S[worker], at))
    for start, stop, members in phases:
        spans.append(Span(0, 1, "probe", start - 0.00002, start))
        for member in members:
            spans.append(Span(0, member, "team", start, stop - 0.00002, row_group=1))
            spans.extend(Span(0, member, "barrier", start + 0.009 + k * 0.01, start + 0.01 + k * 0.01) for k in range(7))
    spans.extend(Span(0, worker, "idle", 0.721, 0.724) for worker in range(4))
    return Trace(spans, {"scheduler": "data_then_model", "kernel": "csc", "simulated": False})


def large(n_processes: int = 16, n_workers: int = 28) -> Trace:
    """A simulated machine whose workers' own rows take from 1 to 2 ms, and who then sleep, help and stop."""
    spans = []
    for process in range(n_processes):
        for worker in range(n_workers):
            own = 1e-3 * (1 + (worker * 11 + process * 5) % n_workers / n_workers)
            joins, stop = max(own, 1.7e-3), max(own, 1.7e-3) + 0.1e-3
            cuts = [own * step / 20 for step in range(21)]
            spans += [Span(process, worker, "data", a, b, row_group=worker) for a, b in pairwise(cuts)]
            spans += [Span(process, worker, "wait", own, joins), Span(process, worker, "team", joins, stop, row_group=0)]
            spans += [Span(process, worker, "idle", stop, 2.2e-3)]
    return Trace(spans, {"scheduler": "data_then_model", "kernel": "dense", "simulated": True})
