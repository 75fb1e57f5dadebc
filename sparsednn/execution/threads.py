"""Carries out a scheduler's actions in real time: each worker is a thread, and one lock guards all decisions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import NamedTuple

from sparsednn.backend import Outcome, Team
from sparsednn.execution.base import Report, Timeline
from sparsednn.execution.row_groups import RowGroups
from sparsednn.execution.worker_log import Stretch, WorkerLog
from sparsednn.schedulers.base import (
    Action,
    Boundary,
    Call,
    Cut,
    Dismiss,
    Event,
    Finished,
    FormTeam,
    Job,
    Run,
    Scheduler,
    Sleep,
    Started,
    Stop,
    Take,
    Taken,
)
from sparsednn.system.cores import pinning_order

WATCH_INTERVAL_S = 0.1


class ThreadExecutor:
    """Runs a scheduler's decisions on `n_workers` threads.

    The scheduler is called under one lock, so each decision is atomic; work goes on outside it, in kernels that have released
    the GIL. Orders reach a worker through a mailbox of its own. With `pin`, worker *i* stays on the *i*-th core that this
    process may use (Linux), counted from `first_core` on, and around again where there are more workers than cores. With
    `trace`, the timeline has spans.
    """

    name = "threads"

    def __init__(
        self, n_workers: int, *, pin: bool = False, trace: bool = False, process: int = 0, first_core: int = 0
    ) -> None:
        self.n_workers = n_workers
        self.pin = pin
        self.first_core = first_core
        self.trace = trace
        self.process = process

    def run(self, scheduler: Scheduler, job: Job, tasks: RowGroups, watch: Callable[[], None] | None = None) -> Timeline:
        """Run until every worker has stopped; return where their time went.

        `watch` is called by the waiting thread a few times a second, and once at the end (to show progress).

        Raises
        ------
        Exception
            The first exception of any worker, after the others have been stopped at their next layer boundary.
        KeyboardInterrupt
            Likewise, after Ctrl-C.
        """
        cores = pinning_order(self.first_core) if self.pin else []
        logs = [WorkerLog(self.process, worker, trace=self.trace) for worker in range(self.n_workers)]
        job = job.of_workers(scheduler.n_wanted(job))
        scheduler.start(job)
        run = _ThreadRun(scheduler, tasks, logs, cores)
        _run_threads(run, job.n_workers, watch)
        if run.error is not None:
            raise run.error
        elapsed_s = run.now()
        for log in logs:
            log.close(elapsed_s)
        return Timeline(elapsed_s, [log.times for log in logs], [span for log in logs for span in log.spans])


def _run_threads(run: _ThreadRun, n_threads: int, watch: Callable[[], None] | None) -> None:
    """Start a thread for each of the first workers and wait until all have ended."""
    threads = [
        threading.Thread(target=run.work, args=(worker,), name=f"worker-{worker}", daemon=True) for worker in range(n_threads)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            _join(thread, watch)
        if watch is not None:
            watch()
    except BaseException:
        run.abort()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise


def _join(thread: threading.Thread, watch: Callable[[], None] | None) -> None:
    if watch is None:
        thread.join()
        return
    while thread.is_alive():
        thread.join(WATCH_INTERVAL_S)
        watch()


class _Order(NamedTuple):
    """An order in a worker's mailbox: to run as this member of this team."""

    row_group: int
    team: Team
    member: int


class _Errand(NamedTuple):
    """An errand in a worker's mailbox: to take a row group from a process."""

    process: int


class _ThreadRun:
    """The state of one run: a lock for decisions, and a mailbox for each worker."""

    def __init__(self, scheduler: Scheduler, tasks: RowGroups, logs: Sequence[WorkerLog], cores: list[int]) -> None:
        self.scheduler = scheduler
        self.tasks = tasks
        self.logs = logs
        self.cores = cores
        self.error: BaseException | None = None
        self._opened_s: dict[int, float] = {}
        self._decision = threading.Lock()
        self._mailboxes: list[SimpleQueue[_Order | _Errand | None]] = [SimpleQueue() for _ in logs]
        self._started_at = perf_counter()

    def now(self) -> float:
        """Return the seconds since the run began."""
        return perf_counter() - self._started_at

    def work(self, worker: int) -> None:
        """Be worker number `worker` until told to stop."""
        try:
            if self.cores:
                os.sched_setaffinity(0, {self.cores[worker % len(self.cores)]})  # 0: the calling thread
            self._report(Started(worker))
            while (order := self._next_order(worker)) is not None:
                if isinstance(order, _Errand):
                    self._report(self._take(worker, order.process))
                    continue
                report = self._carry_out(worker, order)
                if report.outcome is Outcome.STOPPED:
                    return
                if order.member > 0:
                    continue  # the leader reports
                if report.outcome is Outcome.THROUGH:
                    self.logs[worker].times.row_groups += 1
                    seconds = self.now() - self._opened_s[order.row_group]
                    self._report(Finished(worker, order.row_group, seconds, self.tasks.multiply_adds(order.row_group)))
                else:
                    self._report(Boundary(worker, order.row_group, self.tasks.scores(), self.tasks.work(worker)))
        except BaseException as error:  # whatever it is, the other workers must not wait for ever
            with self._decision:
                self.error = self.error or error
            self.abort()

    def abort(self) -> None:
        """Stop every worker, at its next layer boundary if it is running."""
        self.tasks.request_stop()
        for mailbox in self._mailboxes:
            mailbox.put(None)

    def _next_order(self, worker: int) -> _Order | _Errand | None:
        """Wait for the next order; None is the end."""
        order = self._mailboxes[worker].get()
        self.logs[worker].woken(self.now(), joins=isinstance(order, _Order) and order.member > 0)
        return order

    def _take(self, worker: int, process: int) -> Taken:
        """Take a row group from a queue that processes share; outside the lock, since it may have to come from afar."""
        start_s = self.now()
        row_group = self.tasks.take(worker, process)
        self.logs[worker].fetched(start_s, self.now())
        return Taken(worker, process, row_group)

    def _carry_out(self, worker: int, order: _Order) -> Report:
        """Run a row group as a member of a team; the leader gets it ready first, and only then calls the others."""
        start_s = self.now()
        if order.member == 0:
            self._opened_s.setdefault(order.row_group, start_s)
            self.tasks.open(worker, order.row_group)
            for member, other in enumerate(order.team.workers[1:], start=1):
                self._mailboxes[other].put(_Order(order.row_group, order.team, member))
        report = self.tasks.run(order.row_group, order.team, order.member)
        self.logs[worker].ran(self._stretch(order, report, start_s, self.now()))
        return report

    def _stretch(self, order: _Order, report: Report, start_s: float, stop_s: float) -> Stretch:
        return Stretch(
            len(order.team.workers), order.row_group, report.first_layer, report.last_layer, report.multiply_adds,
            start_s, stop_s, busy_s=stop_s - start_s - report.meet_s, meet_s=report.meet_s,
            waits=[(since - self._started_at, until - self._started_at) for since, until in report.waits],
        )  # fmt: skip

    def _report(self, event: Event) -> None:
        """Have the scheduler decide on an event, and hand out what it decides."""
        asked_s = self.now()
        with self._decision:
            granted_s = self.now()
            if isinstance(event, Boundary | Finished):
                self.tasks.dismiss(event.worker)  # the call is answered
            actions = self.scheduler.on_event(event)
            for action in actions:
                self._hand_out(action)
        self.logs[event.worker].decided(event, actions, asked_s, granted_s, self.now())

    def _hand_out(self, action: Action) -> None:
        match action:
            case Run(worker, row_group):
                self._mailboxes[worker].put(_Order(row_group, self.tasks.team((worker,)), 0))
            case FormTeam(row_group, members):
                self._mailboxes[members[0]].put(_Order(row_group, self.tasks.team(members), 0))
            case Call(worker, from_layer):
                self.tasks.call(worker, from_layer)
            case Dismiss(worker):
                self.tasks.dismiss(worker)
            case Cut(row_group, start, stop):
                self.tasks.cut(row_group, start, stop)
            case Sleep(worker):
                self.logs[worker].asleep = True
            case Take(worker, process):
                self._mailboxes[worker].put(_Errand(process))
            case Stop(worker):
                self._mailboxes[worker].put(None)
