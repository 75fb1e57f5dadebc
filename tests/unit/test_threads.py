"""The thread executor carries out decisions, whatever the tasks do."""

from __future__ import annotations

import threading

import pytest

from sparsednn.executors import ThreadExecutor
from sparsednn.schedulers import SCHEDULERS, Action, Event, Finished, Job, Run, Scheduler, Started, Stop


class Recorder:
    """Tasks that note what they were asked for."""

    def __init__(self) -> None:
        self.ran: list[tuple[int, int]] = []
        self.stopped = threading.Event()

    def run(self, worker: int, row_group: int) -> bool:
        self.ran.append((worker, row_group))
        return True

    def request_stop(self) -> None:
        self.stopped.set()


class Failing(Recorder):
    """Worker 1 raises; the others work until they are asked to stop, as a kernel that polls its flag does."""

    def run(self, worker: int, row_group: int) -> bool:
        if worker == 1:
            raise RuntimeError("worker 1 has had enough")
        return not self.stopped.wait(timeout=30)


class Late(Scheduler):
    """Gives both row groups to worker 0, and lets worker 1 go only after that."""

    name = "late"

    def n_row_groups(self, n_workers: int) -> int:
        return 2

    def start(self, job: Job) -> None:
        self.done = 0

    def on_event(self, event: Event) -> list[Action]:
        match event:
            case Started(0):
                return [Run(0, 0)]
            case Started(1):
                return []  # it waits at its mailbox
            case Finished(0, 0):
                return [Run(0, 1)]
            case _:
                return [Stop(0), Stop(1)]


def test_each_worker_runs_what_it_was_given() -> None:
    tasks = Recorder()
    times = ThreadExecutor(3).run(SCHEDULERS["data"](), Job(3, 3, 1), tasks)
    assert sorted(tasks.ran) == [(0, 0), (1, 1), (2, 2)]
    assert [t.row_groups for t in times] == [1, 1, 1]
    assert all(t.busy_s >= 0 and t.idle_s >= 0 for t in times)


def test_a_worker_without_an_action_waits_until_one_comes() -> None:
    tasks = Recorder()
    times = ThreadExecutor(2).run(Late(), Job(2, 2, 1), tasks)
    assert tasks.ran == [(0, 0), (0, 1)]
    assert [t.row_groups for t in times] == [2, 0]


def test_the_error_of_one_worker_stops_all_and_reaches_the_caller() -> None:
    tasks = Failing()
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="worker 1 has had enough"):
        ThreadExecutor(4).run(SCHEDULERS["data"](), Job(4, 4, 1), tasks)
    assert tasks.stopped.is_set()
    assert threading.active_count() == before


def test_ctrl_c_while_waiting_stops_all_workers() -> None:
    tasks = Failing()
    calls = iter([None])

    def watch() -> None:
        if next(calls, "again") is None:
            raise KeyboardInterrupt

    executor = ThreadExecutor(1)
    with pytest.raises(KeyboardInterrupt):
        executor.run(SCHEDULERS["data"](), Job(1, 1, 1), tasks, watch)
    assert tasks.stopped.is_set()
