"""Defines a span, one stretch of a worker's time, and checks that spans are valid."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

import math
from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from sparsednn.errors import unknown

KINDS = ("data", "team", "probe", "wait", "barrier", "fetch", "idle")
"""data: runs a row group alone; team: works on one as a member of a team; probe: stands at a layer boundary and asks the
scheduler; wait: asleep in the idle queue, may be recruited; barrier: waits for the team's other members (inside a team span);
fetch: takes a row group from a queue that processes share, with its rows if they are another's; idle: stopped, nothing will
come any more until the run ends."""


class Span(NamedTuple):
    """One stretch of a worker's time.

    It is not checked when it is made, since that happens inside the run that is measured: see `Trace.validate`.

    Attributes
    ----------
    process, worker : int
        The worker's process, and its number in it.
    kind : str
        One of `KINDS`.
    start_s, stop_s : float
        Seconds since the run's start, by the clock of ``time.perf_counter`` or, if simulated, by the virtual one.
    row_group : int
        The row group worked on; -1: none.
    first_layer, last_layer : int
        The layers worked on, half open: ``first_layer`` up to and without ``last_layer``; -1 both: none.
    multiply_adds : int
        How many of them this worker did.
    """

    process: int
    worker: int
    kind: str
    start_s: float
    stop_s: float
    row_group: int = -1
    first_layer: int = -1
    last_layer: int = -1
    multiply_adds: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds from start to stop."""
        return self.stop_s - self.start_s


def ns(seconds: float) -> int:
    """Return seconds as whole nanoseconds, the resolution of the files and of all comparisons."""
    return round(seconds * 1e9)


def require_valid(span: Span) -> None:
    """Refuse a span that makes no sense by itself."""
    if span.kind not in KINDS:
        raise ValueError(f"{span}: {unknown('kind', span.kind, KINDS)}")
    if not (math.isfinite(span.stop_s) and 0 <= span.start_s <= span.stop_s):
        raise ValueError(f"{span}: times must be finite, start at 0 or later, and stop no earlier than they start")
    if min(span.process, span.worker, span.multiply_adds) < 0 or span.row_group < -1:
        raise ValueError(f"{span}: a number is negative")
    if (span.first_layer, span.last_layer) != (-1, -1) and not 0 <= span.first_layer <= span.last_layer:
        raise ValueError(f"{span}: layers must be a half-open range from 0 up, or -1 and -1")


def require_one_at_a_time(spans: list[Span]) -> None:
    """Refuse spans of one worker that overlap or do not ascend, and barrier spans outside its team spans."""
    barriers = [span for span in spans if span.kind == "barrier"]
    others = [span for span in spans if span.kind != "barrier"]
    for same in (barriers, others):
        for before, span in pairwise(same):
            if ns(span.start_s) < ns(before.stop_s) - 1:
                raise ValueError(f"{span}: starts before the one ahead of it stops: {before}")
    teams = [span for span in others if span.kind == "team"]
    starts = [ns(span.start_s) - 1 for span in teams]
    for span in barriers:
        place = bisect_right(starts, ns(span.start_s)) - 1
        if place < 0 or ns(span.stop_s) > ns(teams[place].stop_s) + 1:
            raise ValueError(f"{span}: is not inside a team span of its worker")
