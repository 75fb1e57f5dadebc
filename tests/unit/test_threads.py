"""The thread executor carries out decisions, whatever the tasks do."""

from __future__ import annotations

import faulthandler
import os
import random
import threading
import time

import pytest

from sparsednn.executors import ThreadExecutor
from sparsednn.schedulers import SCHEDULERS, Action, Event, Finished, Job, Run, Scheduler, SchedulerOptions, Started, Stop


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


def test_pinned_workers_stay_on_a_core_of_their_own() -> None:
    cores = sorted(os.sched_getaffinity(0))
    seen: dict[int, set[int]] = {}

    class Looking(Recorder):
        def run(self, worker: int, row_group: int) -> bool:
            seen[worker] = os.sched_getaffinity(0)
            return True

    ThreadExecutor(len(cores) + 1, pin=True).run(SCHEDULERS["data"](), Job(len(cores) + 1, len(cores) + 1, 1), Looking())
    assert seen == {worker: {cores[worker % len(cores)]} for worker in range(len(cores) + 1)}
    assert sorted(os.sched_getaffinity(0)) == cores  # the caller is not pinned


class Jittery(Recorder):
    """Row groups that take a random moment, or none."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng

    def run(self, worker: int, row_group: int) -> bool:
        time.sleep(self.rng.choice([0, 0, 1e-6, 5e-5]))
        return super().run(worker, row_group)


def _stress(name: str, n_runs: int) -> None:
    """Real threads with delays at every decision: each row group finished once, and every worker comes back."""
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        for seed in range(n_runs):
            rng = random.Random(f"{name} {seed}")
            scheduler = SCHEDULERS[name](SchedulerOptions(split_factor=rng.randint(1, 4)))
            decide = scheduler.on_event

            def late(event: Event, decide=decide, rng=rng) -> list[Action]:  # type: ignore[no-untyped-def]
                time.sleep(rng.choice([0, 0, 0, 2e-5]))
                return decide(event)

            scheduler.on_event = late  # type: ignore[method-assign]
            n_workers = rng.randint(1, 8)
            n_groups = scheduler.n_row_groups(n_workers)
            tasks = Jittery(rng)
            times = ThreadExecutor(n_workers).run(scheduler, Job(n_workers, n_groups, 2), tasks)
            assert sorted(group for _, group in tasks.ran) == list(range(n_groups))
            assert sum(t.row_groups for t in times) == n_groups
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_random_delays_lose_no_row_group(name: str) -> None:
    _stress(name, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
def test_random_delays_lose_no_row_group_in_thousands_of_runs(name: str) -> None:
    _stress(name, 3000)
