"""Schedulers as tables of events and actions, and every order of events for small runs."""

from __future__ import annotations

import copy
from collections import deque

import pytest

from sparsednn.schedulers import SCHEDULERS, Action, Event, Finished, Job, Run, Scheduler, SchedulerOptions, Started, Stop
from sparsednn.schedulers.queues import ManagerWorkerScheduler, WorkStealingScheduler


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
    scheduler.start(Job(n_workers=3, n_row_groups=3, n_layers=4))
    assert scheduler.on_event(event) == expected


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
    scheduler.queue = deque(queue)
    assert scheduler.on_event(event) == expected


@pytest.mark.parametrize(
    ("queues", "event", "expected"),
    [
        pytest.param([[0, 1], [2, 3]], Started(1), [Run(1, row_group=2)], id="a worker takes the head of its own queue first"),
        pytest.param([[], [4, 2]], Finished(0, 1), [Run(0, row_group=4)], id="an idle worker takes the head of the next queue"),
        pytest.param([[7], [], []], Finished(1, 3), [Run(1, row_group=7)], id="the walk goes on past empty queues and around"),
        pytest.param([[7], [8], []], Finished(2, 3), [Run(2, row_group=7)], id="the walk starts behind the worker's own queue"),
        pytest.param([[], []], Finished(0, 1), [Stop(0)], id="nothing left anywhere: stop"),
    ],
)
def test_work_stealing(queues: list[list[int]], event: Event, expected: list[Action]) -> None:
    scheduler = WorkStealingScheduler()
    scheduler.queues = [deque(queue) for queue in queues]
    assert scheduler.on_event(event) == expected


@pytest.mark.parametrize("scheduler", [ManagerWorkerScheduler, WorkStealingScheduler])
def test_queues_hold_split_factor_row_groups_for_each_worker(scheduler: type[Scheduler]) -> None:
    assert scheduler().n_row_groups(3) == 24
    assert scheduler(SchedulerOptions(split_factor=5)).n_row_groups(3) == 15
    with pytest.raises(ValueError, match="split_factor=0"):
        SchedulerOptions(split_factor=0)


def test_work_stealing_gives_each_worker_neighbouring_row_groups() -> None:
    scheduler = WorkStealingScheduler()
    scheduler.start(Job(n_workers=3, n_row_groups=7, n_layers=1))
    assert [list(queue) for queue in scheduler.queues] == [[0, 1], [2, 3], [4, 5, 6]]


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("n_workers", [1, 2, 3, 4])
def test_every_order_of_events_finishes_every_row_group_once(name: str, n_workers: int) -> None:
    """Workers may be as fast or slow as they like: any that has something to report may be the next to do so."""
    scheduler = SCHEDULERS[name](SchedulerOptions(split_factor=2))
    n_groups = scheduler.n_row_groups(n_workers)
    scheduler.start(Job(n_workers, n_groups, n_layers=2))
    n_ends = _explore(scheduler, {worker: Started(worker) for worker in range(n_workers)}, n_groups)
    assert n_ends >= 1


def _explore(scheduler: Scheduler, pending: dict[int, Event], n_groups: int) -> int:
    """Deliver every pending event next, from every state that can be reached; return how often a run came to its end."""
    seen: set[str] = set()
    todo: list[tuple[Scheduler, dict[int, Event], frozenset[int]]] = [(scheduler, pending, frozenset())]
    n_ends = 0
    while todo:
        scheduler, pending, done = todo.pop()
        if not pending:
            assert done == frozenset(range(n_groups)), "all workers have stopped, but row groups are left"
            n_ends += 1
        for worker in pending:
            following = _deliver(copy.deepcopy(scheduler), dict(pending), done, worker)
            key = repr((vars(following[0]), sorted(following[1].items()), sorted(following[2])))
            if key not in seen:
                seen.add(key)
                todo.append(following)
    return n_ends


def _deliver(
    scheduler: Scheduler, pending: dict[int, Event], done: frozenset[int], worker: int
) -> tuple[Scheduler, dict[int, Event], frozenset[int]]:
    """Deliver one worker's event; what the worker is given to run becomes its next event."""
    event = pending.pop(worker)
    if isinstance(event, Finished):
        done |= {event.row_group}
    for action in scheduler.on_event(event):
        assert action.worker == worker, "only the worker that reports is free"
        if isinstance(action, Run):
            running = {other.row_group for other in pending.values() if isinstance(other, Finished)}
            assert action.row_group not in running | done, "a row group was given away twice"
            pending[worker] = Finished(worker, action.row_group)
    return scheduler, pending, done
