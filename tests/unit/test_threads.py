"""The thread executor carries out decisions, whatever the tasks do."""

from __future__ import annotations

import itertools
import os
import threading
import time

import pytest

from sparsednn.backend import Outcome, Team
from sparsednn.execution.base import Report
from sparsednn.execution.threads import ThreadExecutor
from sparsednn.schedulers import (
    SCHEDULERS,
    Action,
    Event,
    Finished,
    Job,
    Run,
    Scheduler,
    SchedulerOptions,
    Started,
    Stop,
)


class Recorder:
    """Row groups of a few layers that note what they were asked for. Members of a team wait until their leader leaves."""

    def __init__(self, n_layers: int = 3) -> None:
        self.n_layers = n_layers
        self.ran: list[tuple[int, int]] = []
        self.teams: list[tuple[int, ...]] = []
        self.layers: dict[int, int] = {}
        self.calls: dict[int, int] = {}
        self.stopped = threading.Event()
        self._left: dict[int, tuple[threading.Barrier, threading.Event]] = {}
        self._running: set[int] = set()
        self._numbers, self._taking, self.n_groups = itertools.count(), threading.Lock(), 0
        self.led: dict[int, int] = {}
        self.cuts: list[int] = []

    def team(self, workers: tuple[int, ...]) -> Team:
        team = Team.of(workers)
        self._left[id(team)] = (threading.Barrier(len(workers)), threading.Event())
        return team

    def open(self, worker: int, row_group: int) -> None:
        self.layers.setdefault(row_group, 0)

    def run(self, row_group: int, team: Team, member: int) -> Report:
        there, left = self._left[id(team)]
        there.wait(timeout=30)
        if member > 0:
            assert left.wait(timeout=30)
            return Report(Outcome.STOPPED if self.stopped.is_set() else Outcome.CALLED)
        assert row_group not in self._running, "two teams run the same row group"
        self._running.add(row_group)
        self.led[team.workers[0]] = row_group
        outcome = self.lead(row_group, team.workers[0])
        self._running.remove(row_group)
        if outcome is Outcome.THROUGH:
            self.ran.append((team.workers[0], row_group))
            self.teams.append(team.workers)
        left.set()
        return Report(outcome)

    def lead(self, row_group: int, leader: int) -> Outcome:
        fresh = True
        while self.layers[row_group] < self.n_layers:
            if self.stopped.is_set():
                return Outcome.STOPPED
            if not fresh and self.layers[row_group] >= self.calls.get(leader, self.n_layers):
                return Outcome.CALLED
            fresh = False
            self.layer(row_group, leader)
            self.layers[row_group] += 1
        return Outcome.THROUGH

    def layer(self, row_group: int, leader: int) -> None:
        """Do the work of a layer."""

    def call(self, worker: int, from_layer: int) -> None:
        self.calls[worker] = from_layer

    def dismiss(self, worker: int) -> None:
        self.calls.pop(worker, None)

    def scores(self) -> tuple[int, ...]:
        return tuple(self.layers.get(self.led.get(worker, -1), 0) for worker in range(16))

    def work(self, worker: int) -> int:
        return 100

    def take(self, worker: int, process: int) -> int | None:
        with self._taking:
            number = next(self._numbers)
        return number if number < self.n_groups else None

    def cut(self, row_group: int, start: int, stop: int) -> None:
        assert (row_group, start) == (len(self.cuts), sum(self.cuts)), "rows were left out, or cut twice"
        self.cuts.append(stop - start)

    def multiply_adds(self, row_group: int) -> int:
        return self.cuts[row_group] if self.cuts else 1

    def request_stop(self) -> None:
        self.stopped.set()


class Failing(Recorder):
    """Worker 1 raises; the others work until they are asked to stop, as a kernel that polls its flag does."""

    def layer(self, row_group: int, leader: int) -> None:
        if leader == 1:
            raise RuntimeError("worker 1 has had enough")
        assert self.stopped.wait(timeout=30)


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
    timeline = ThreadExecutor(3).run(SCHEDULERS["data"](), Job(3, 3, 1), tasks)
    assert sorted(tasks.ran) == [(0, 0), (1, 1), (2, 2)]
    assert [t.row_groups for t in timeline.times] == [1, 1, 1]
    assert all(t.busy_s >= 0 and t.idle_s >= 0 for t in timeline.times)
    assert timeline.spans == []


def test_a_worker_without_an_action_waits_until_one_comes() -> None:
    tasks = Recorder()
    timeline = ThreadExecutor(2).run(Late(), Job(2, 2, 1), tasks)
    assert tasks.ran == [(0, 0), (0, 1)]
    assert [t.row_groups for t in timeline.times] == [2, 0]


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


def test_pinned_workers_stay_on_a_core_of_their_own() -> None:
    cores = sorted(os.sched_getaffinity(0))
    seen: dict[int, set[int]] = {}

    class Looking(Recorder):
        def layer(self, row_group: int, leader: int) -> None:
            seen[leader] = os.sched_getaffinity(0)

    ThreadExecutor(len(cores) + 1, pin=True).run(SCHEDULERS["data"](), Job(len(cores) + 1, len(cores) + 1, 1), Looking())
    assert seen == {worker: {cores[worker % len(cores)]} for worker in range(len(cores) + 1)}
    assert sorted(os.sched_getaffinity(0)) == cores  # the caller is not pinned


def test_an_idle_worker_helps_the_slow_one() -> None:
    class Slow(Recorder):
        def layer(self, row_group: int, leader: int) -> None:
            time.sleep(0.02 if row_group == 0 else 0)

    tasks = Slow(n_layers=10)
    scheduler = SCHEDULERS["data_then_model"](SchedulerOptions(minimum_work=0))
    timeline = ThreadExecutor(2, trace=True).run(scheduler, Job(2, 2, 10), tasks)
    assert tasks.teams == [(1,), (0, 1)]
    kinds = [[span.kind for span in timeline.spans if span.worker == worker] for worker in (0, 1)]
    assert [kind for kind in kinds[0] if kind != "idle"] == ["data", "probe", "team"]
    assert kinds[1][:3] == ["data", "wait", "team"]
    assert timeline.times[1].wait_s > 0
    assert timeline.times[0].recruit_s > 0
    assert timeline.times[0].locking_s >= timeline.times[0].recruit_s


def test_the_parts_of_every_workers_time_add_up() -> None:
    class Slow(Recorder):
        def layer(self, row_group: int, leader: int) -> None:
            time.sleep(0.002 * row_group)

    scheduler = SCHEDULERS["data_then_model"](SchedulerOptions(minimum_work=0))
    timeline = ThreadExecutor(4).run(scheduler, Job(4, 4, 5), Slow(n_layers=5))
    for t in timeline.times:
        assert t.busy_s + t.locking_s + t.wait_s + t.idle_s == pytest.approx(timeline.elapsed_s, rel=0.05, abs=0.02)
