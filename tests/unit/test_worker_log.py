"""The log of a worker, by hand: each figure that its executor gives in is where it belongs."""

from __future__ import annotations

import pytest

from sparsednn.execution.worker_log import Stretch, WorkerLog
from sparsednn.schedulers.base import Boundary, Event, Finished, FormTeam, Run, Started

BOUNDARY = Boundary(1, 7, (2, 2), 10)


def _spans(log: WorkerLog) -> list[tuple[str, float, float]]:
    return [(span.kind, span.start_s, span.stop_s) for span in log.spans]


def test_a_stretch_is_busy_and_meets() -> None:
    log = WorkerLog(3, 1, trace=True)
    log.ran(Stretch(2, 7, 0, 4, 100, 1.0, 4.0, busy_s=2.5, meet_s=0.5, waits=[(1.0, 1.25), (2.0, 2.0), (3.75, 4.0)]))
    assert (log.times.busy_s, log.times.meet_s, log.times.multiply_adds) == (2.5, 0.5, 100)
    assert _spans(log) == [("team", 1.0, 4.0), ("barrier", 1.0, 1.25), ("barrier", 3.75, 4.0)]
    team = log.spans[0]
    assert (team.process, team.worker, team.row_group, team.first_layer, team.last_layer, team.multiply_adds) == (
        3,
        1,
        7,
        0,
        4,
        100,
    )


@pytest.mark.parametrize(
    ("event", "action", "field"),
    [
        (Started(1), Run(1, 0), "enlist_s"),
        (Finished(1, 7), Run(1, 0), "enlist_s"),
        (BOUNDARY, Run(1, 7), "probe_s"),
        (BOUNDARY, FormTeam(7, (1, 0)), "probe_s"),
        (BOUNDARY, FormTeam(7, (1, 0, 2)), "recruit_s"),
    ],
)
def test_a_decision_is_for_more_helpers_than_before_or_in_vain(event: Event, action: Run | FormTeam, field: str) -> None:
    log = WorkerLog(0, 1, trace=True)
    log.ran(Stretch(2, 7, 0, 2, 0, 0.0, 1.0, busy_s=1.0, meet_s=0.0))
    log.decided(event, [action], asked_s=1.0, granted_s=1.5, done_s=2.5)
    assert log.times.lock_s == 0.5
    assert {name: getattr(log.times, name) for name in ("enlist_s", "probe_s", "recruit_s") if getattr(log.times, name)} == {
        field: 1.0
    }
    assert (("probe", 1.0, 2.5) in _spans(log)) == isinstance(event, Boundary)


def test_an_order_ends_sleep_or_standing_at_a_boundary_or_nothing() -> None:
    log = WorkerLog(0, 1, trace=True)
    log.woken(1.0, joins=False)
    assert (log.times.wait_s, log.times.probe_s, log.spans) == (0.0, 0.0, [])
    log.woken(2.0, joins=True)
    assert (log.times.wait_s, log.times.probe_s) == (0.0, 2.0)
    log.asleep = True
    log.woken(5.0, joins=True)
    assert (log.times.wait_s, log.times.probe_s, log.asleep) == (3.0, 2.0, False)
    assert _spans(log) == [("probe", 0.0, 2.0), ("wait", 2.0, 5.0)]


def test_what_is_left_at_the_end_is_idle() -> None:
    log = WorkerLog(0, 1, trace=True)
    log.fetched(0.5, 2.0)
    log.close(5.0)
    assert (log.times.fetch_s, log.times.idle_s) == (1.5, 3.5)
    assert _spans(log) == [("fetch", 0.5, 2.0), ("idle", 2.0, 5.0)]


def test_spans_are_kept_for_a_trace_only() -> None:
    log = WorkerLog(0, 1, trace=False)
    log.ran(Stretch(1, 0, 0, 1, 0, 0.0, 1.0, busy_s=1.0, meet_s=0.0))
    log.close(2.0)
    assert log.spans == []
