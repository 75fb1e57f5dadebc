"""Schedulers as tables of events and actions."""

from __future__ import annotations

from collections import deque

import pytest

from sparsednn.schedulers import (
    ONE_PROCESS_SCHEDULERS,
    SCHEDULERS,
    Action,
    Boundary,
    Call,
    Dismiss,
    Event,
    Finished,
    FormTeam,
    Job,
    Run,
    Scheduler,
    SchedulerOptions,
    Sleep,
    Started,
    Stop,
)
from sparsednn.schedulers.data_then_model import DataThenModelScheduler
from sparsednn.schedulers.queues import ManagerWorkerScheduler, WorkStealingScheduler
from tests.schedulers import decide, started


def test_each_name_has_the_class_of_that_name() -> None:
    assert [scheduler.name for scheduler in SCHEDULERS.values()] == list(SCHEDULERS)
    assert len(set(SCHEDULERS.values())) == len(SCHEDULERS) == 7
    with pytest.raises(KeyError):
        SCHEDULERS["none"]


def test_all_but_those_that_take_from_processes_decide_for_one_process() -> None:
    assert [name for name, scheduler in SCHEDULERS.items() if not scheduler.takes_from_processes] == [*ONE_PROCESS_SCHEDULERS]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(Started(0), [Run(0, row_group=0)], id="the first worker runs the first row group from the first layer"),
        pytest.param(Started(2), [Run(2, row_group=2)], id="each worker has a row group of its own"),
        pytest.param(Finished(1, 1), [Stop(1)], id="a worker that has finished stops: nobody else is waited for"),
    ],
)
def test_data(event: Event, expected: list[Action]) -> None:
    scheduler = SCHEDULERS["data"]()
    started(scheduler, Job(n_workers=3, n_row_groups=3, n_layers=4))
    assert decide(scheduler, event) == expected


def test_data_splits_into_one_row_group_a_worker() -> None:
    scheduler = SCHEDULERS["data"]()
    assert [scheduler.n_row_groups(n) for n in (1, 2, 28)] == [1, 2, 28]
    with pytest.raises(ValueError, match="3 row groups for 2 workers"):
        scheduler.start(Job(n_workers=2, n_row_groups=3, n_layers=4))


@pytest.mark.parametrize(
    ("queue", "event", "expected"),
    [
        pytest.param([5, 6], Started(1), [Run(1, row_group=5)], id="a worker that starts takes the head"),
        pytest.param([6], Finished(0, 4), [Run(0, row_group=6)], id="a worker that has finished takes the head"),
        pytest.param([], Finished(0, 6), [Stop(0)], id="nothing left: stop"),
        pytest.param([], Started(3), [Stop(3)], id="more workers than row groups: stop at once"),
    ],
)
def test_manager_worker(queue: list[int], event: Event, expected: list[Action]) -> None:
    scheduler = ManagerWorkerScheduler()
    started(scheduler, Job(n_workers=4, n_row_groups=7, n_layers=1))
    scheduler.queue = deque(queue)
    assert decide(scheduler, event) == expected


@pytest.mark.parametrize(
    ("queues", "event", "expected"),
    [
        pytest.param([[0, 1], [2, 3]], Started(1), [Run(1, row_group=2)], id="a worker takes the head of its own queue first"),
        pytest.param([[], [2, 3]], Finished(0, 1), [Run(0, row_group=2)], id="an idle worker takes the head of the next queue"),
        pytest.param([[1], [], []], Finished(1, 3), [Run(1, row_group=1)], id="the walk goes on past empty queues and around"),
        pytest.param([[1], [3], []], Finished(2, 3), [Run(2, row_group=1)], id="the walk starts behind the worker's own queue"),
        pytest.param([[], []], Finished(0, 1), [Stop(0)], id="nothing left anywhere: stop"),
    ],
)
def test_work_stealing(queues: list[list[int]], event: Event, expected: list[Action]) -> None:
    scheduler = WorkStealingScheduler()
    started(scheduler, Job(n_workers=len(queues), n_row_groups=2 * len(queues), n_layers=1))
    scheduler.queues = [deque(queue) for queue in queues]
    assert decide(scheduler, event) == expected


@pytest.mark.parametrize("scheduler", [ManagerWorkerScheduler, WorkStealingScheduler])
def test_queues_hold_split_factor_row_groups_for_each_worker(scheduler: type[Scheduler]) -> None:
    assert scheduler().n_row_groups(3) == 24
    assert scheduler(SchedulerOptions(split_factor=5)).n_row_groups(3) == 15
    with pytest.raises(ValueError, match="split_factor=0"):
        SchedulerOptions(split_factor=0)


def test_work_stealing_gives_each_worker_neighbouring_row_groups() -> None:
    scheduler = WorkStealingScheduler()
    started(scheduler, Job(n_workers=3, n_row_groups=7, n_layers=1))
    assert [list(queue) for queue in scheduler.queues] == [[0, 1], [2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([Started(1)], [Sleep(1)], id="a worker waits for the others"),
        pytest.param(
            [Started(1), Started(0), Started(2)], [FormTeam(0, (0, 1, 2))], id="when all are there, they are one team"
        ),
        pytest.param(
            [Started(1), Started(0), Started(2), Finished(0, 0)], [Stop(0), Stop(1), Stop(2)], id="all stop when it is through"
        ),
        pytest.param(
            [Started(1), Started(0), Started(2), Boundary(0, 0, (3, 0, 0), 10)],
            [FormTeam(0, (0, 1, 2))],
            id="if called by somebody, the team goes on as it is",
        ),
    ],
)
def test_model(events: list[Event], expected: list[Action]) -> None:
    scheduler = SCHEDULERS["model"]()
    started(scheduler, Job(n_workers=3, n_row_groups=1, n_layers=4))
    assert [decide(scheduler, event) for event in events][-1] == expected


def test_model_wants_one_row_group() -> None:
    assert SCHEDULERS["model"]().n_row_groups(28) == 1
    with pytest.raises(ValueError, match="2 row groups"):
        SCHEDULERS["model"]().start(Job(n_workers=2, n_row_groups=2, n_layers=4))


def _after(
    events: list[Event], n_workers: int = 3, domains: tuple[int, ...] = (), **options: object
) -> tuple[DataThenModelScheduler, list[Action]]:
    """A run of 10 layers after some events, and what the last of them brought."""
    scheduler = DataThenModelScheduler(SchedulerOptions(**{"minimum_work": 0, "recruiting_ratio": 0.3, **options}))  # type: ignore[arg-type]
    started(scheduler, Job(n_workers, n_workers, 10, domains))
    actions: list[Action] = []
    for event in events:
        actions = decide(scheduler, event)
    return scheduler, actions


STARTED: list[Event] = [Started(0), Started(1), Started(2)]
TWO_IDLE: list[Event] = [*STARTED, Finished(1, 1), Finished(2, 2)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([Started(1)], [Run(1, row_group=1)], id="data parallelism first: each worker has its own row group"),
        pytest.param(
            [*STARTED, Finished(1, 1)],
            [Sleep(1), Call(0, from_layer=3), Call(2, from_layer=3)],
            id="a worker that is through sleeps, and those still running are called, from recruiting_ratio on",
        ),
        pytest.param(TWO_IDLE, [Sleep(2)], id="who is called already is not called again"),
        pytest.param(
            [*TWO_IDLE, Boundary(0, 0, (4, 0, 0), 9)], [FormTeam(0, (0, 1, 2))], id="a worker at a boundary takes all idle ones"
        ),
        pytest.param(
            [*STARTED, Finished(1, 1), Boundary(0, 0, (4, 0, 0), 9)],
            [FormTeam(0, (0, 1)), Dismiss(2)],
            id="with nobody left to take, the others need not report any more",
        ),
        pytest.param(
            [*STARTED, Finished(1, 1), Boundary(0, 0, (4, 0, 0), 9), Boundary(2, 2, (5, 0, 3), 9)],
            [Run(2, row_group=2)],
            id="one that had seen the call all the same goes on alone",
        ),
        pytest.param(
            [*STARTED, Finished(1, 1), Boundary(0, 0, (4, 0, 0), 9), Finished(2, 2), Boundary(0, 0, (6, 0, 0), 9)],
            [FormTeam(0, (0, 1, 2))],
            id="later helpers join at a later boundary",
        ),
        pytest.param(
            [*STARTED, Finished(1, 1), Boundary(0, 0, (4, 0, 0), 9), Finished(0, 0)],
            [Sleep(0), Sleep(1), Call(2, from_layer=3)],
            id="a team that is through is idle, its leader included",
        ),
        pytest.param(
            [*STARTED, Finished(1, 1), Boundary(0, 0, (4, 0, 0), 9), Finished(0, 0), Boundary(2, 2, (0, 0, 7), 9)],
            [FormTeam(2, (2, 0, 1))],
            id="and can be recruited by another leader",
        ),
        pytest.param([*TWO_IDLE, Finished(0, 0)], [Stop(0), Stop(1), Stop(2)], id="all stop when all are idle"),
        pytest.param(
            [Started(0), Started(1), Finished(0, 0), Finished(1, 1), Started(2)],
            [Run(2, row_group=2)],
            id="a worker that starts late still has its row group; it was called before",
        ),
    ],
)
def test_data_then_model(events: list[Event], expected: list[Action]) -> None:
    assert _after(events)[1] == expected


@pytest.mark.parametrize(
    ("strategy", "scores", "may"),
    [
        pytest.param("earliest_first", (9, 0, 3), True, id="earliest first: whoever asks"),
        pytest.param("slower_first", (9, 0, 3), False, id="slower first: not one that is far ahead"),
        pytest.param("slower_first", (7, 0, 3), True, id="slower first: one within the threshold of the slowest"),
        pytest.param("faster_first", (3, 0, 9), False, id="faster first: not one that is far behind"),
        pytest.param("faster_first", (5, 0, 9), True, id="faster first: one within the threshold of the fastest"),
        pytest.param("faster_first", (3, 9, 3), True, id="scores of workers that do not run do not count"),
    ],
)
def test_strategies(strategy: str, scores: tuple[int, ...], may: bool) -> None:
    _, actions = _after([*STARTED, Finished(1, 1), Boundary(0, 0, scores, 9)], strategy=strategy, threshold=4)
    assert actions == ([FormTeam(0, (0, 1)), Dismiss(2)] if may else [Run(0, 0), Call(0, from_layer=3)])


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        pytest.param(99, [Run(0, 0)], id="too little for two: it goes on alone and is not called again"),
        pytest.param(100, [FormTeam(0, (0, 1))], id="enough for two: one helper; the other goes on waiting"),
        pytest.param(1000, [FormTeam(0, (0, 1, 2))], id="enough for all"),
    ],
)
def test_a_team_needs_a_minimum_of_work(work: int, expected: list[Action]) -> None:
    _, actions = _after([*TWO_IDLE, Boundary(0, 0, (4, 0, 0), work)], minimum_work=50)
    assert [action for action in actions if not isinstance(action, Call)] == expected


def test_a_worker_with_nothing_to_do_never_takes_helpers() -> None:
    """Whatever the minimum: a team for an empty row group would keep them from those that have work."""
    _, actions = _after([*TWO_IDLE, Boundary(0, 0, (4, 0, 0), 0)], minimum_work=0)
    assert [action for action in actions if not isinstance(action, Call)] == [Run(0, 0)]


def test_a_worker_with_too_little_work_asks_again_later() -> None:
    """The next layers may be larger; after 4 of 10 layers it asks after another eighth of them, rounded up."""
    _, actions = _after([*TWO_IDLE, Boundary(0, 0, (4, 0, 0), 49)], minimum_work=50)
    assert actions == [Run(0, 0), Call(0, from_layer=6)]
    _, actions = _after([*TWO_IDLE, Boundary(0, 0, (4, 0, 0), 49), Boundary(0, 0, (6, 0, 0), 150)], minimum_work=50)
    assert actions == [FormTeam(0, (0, 1, 2))]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [Finished(1, 1)], [Sleep(1), Call(0, from_layer=3)], id="an idle worker calls those of its own domain only"
        ),
        pytest.param(
            [Finished(1, 1), Finished(0, 0)],
            [Sleep(0), Call(2, from_layer=3), Call(3, from_layer=3)],
            id="a domain that is idle as a whole helps the others",
        ),
        pytest.param(
            [Finished(1, 1), Boundary(2, 2, (0, 0, 5, 0), 9)],
            [Run(2, 2)],
            id="a worker of another domain does not get one that is idle alone",
        ),
        pytest.param(
            [Finished(1, 1), Finished(0, 0), Finished(3, 3), Boundary(2, 2, (0, 0, 5, 0), 9)],
            [FormTeam(2, (2, 3, 1, 0))],
            id="those of its own domain come first",
        ),
    ],
)
def test_numa_domains(events: list[Event], expected: list[Action]) -> None:
    started: list[Event] = [Started(worker) for worker in range(4)]
    assert _after([*started, *events], n_workers=4, domains=(0, 0, 1, 1))[1] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"strategy": "slowest"}, "strategy=slowest: did you mean slower_first", id="unknown strategy"),
        pytest.param({"recruiting_ratio": 1.5}, "recruiting_ratio=1.5", id="ratio above 1"),
        pytest.param({"threshold": -1}, "threshold=-1", id="negative threshold"),
        pytest.param({"minimum_work": -1}, "minimum_work=-1", id="negative work"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SchedulerOptions(**options)  # type: ignore[arg-type]


def test_a_job_needs_a_domain_for_each_worker() -> None:
    with pytest.raises(ValueError, match="2 NUMA domains for 3 workers"):
        Job(3, 3, 1, domains=(0, 1))
    with pytest.raises(ValueError, match="2 row groups for 3 workers"):
        DataThenModelScheduler().start(Job(3, 2, 1))
