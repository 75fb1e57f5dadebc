"""Real threads in real time: each worker is a thread, and decisions are made under one lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter

from sparsednn.backend import Crew, Outcome
from sparsednn.execution.base import Report, Timeline
from sparsednn.execution.row_groups import RowGroups
from sparsednn.results.trace import Span
from sparsednn.results.worker_times import WorkerTimes
from sparsednn.schedulers.base import (
    Action,
    Boundary,
    Call,
    Dismiss,
    Event,
    Finished,
    Job,
    Run,
    Scheduler,
    Sleep,
    Started,
    Stop,
    Take,
    Taken,
    Team,
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
        scheduler.start(job)
        started_at = perf_counter()
        run = _Run(
            scheduler, tasks, [_Log(self.process, worker, started_at, self.trace) for worker in range(self.n_workers)], cores
        )
        threads = [
            threading.Thread(target=run.work, args=(worker,), name=f"worker-{worker}", daemon=True)
            for worker in range(self.n_workers)
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
        if run.error is not None:
            raise run.error
        elapsed_s = perf_counter() - started_at
        for log in run.logs:
            log.close(elapsed_s)
        return Timeline(elapsed_s, [log.times for log in run.logs], [span for log in run.logs for span in log.spans])


def _join(thread: threading.Thread, watch: Callable[[], None] | None) -> None:
    if watch is None:
        thread.join()
        return
    while thread.is_alive():
        thread.join(WATCH_INTERVAL_S)
        watch()


@dataclass(frozen=True, slots=True)
class _Order:
    """What a worker finds in its mailbox: be this member of this crew."""

    row_group: int
    crew: Crew
    member: int


@dataclass(frozen=True, slots=True)
class _Errand:
    """What a worker may find there as well: take a row group from a process."""

    process: int


class _Log:
    """Where one worker's time goes; spans are kept only for a trace."""

    def __init__(self, process: int, worker: int, started_at: float, trace: bool) -> None:
        self.times = WorkerTimes(worker)
        self.spans: list[Span] = []
        self._process = process
        self._started_at = started_at
        self._trace = trace
        self._through_at = started_at

    def ran(self, order: _Order, report: Report, start: float, stop: float) -> None:
        """Note a call into the kernels."""
        self.times.busy_s += stop - start - report.meet_s
        self.times.meet_s += report.meet_s
        self.times.multiply_adds += report.multiply_adds
        kind = "data" if len(order.crew.workers) == 1 else "team"
        self.note(kind, start, stop, order.row_group, report.first_layer, report.last_layer, report.multiply_adds)
        for waited_from, waited_to in report.waits:
            self.note("barrier", waited_from, waited_to, order.row_group)

    def note(self, kind: str, start: float, stop: float, *details: int) -> None:
        """Keep a span."""
        self._through_at = stop if kind != "barrier" else self._through_at
        if self._trace:
            worker, since = self.times.worker, self._started_at
            self.spans.append(Span(self._process, worker, kind, start - since, stop - since, *details))

    def close(self, elapsed_s: float) -> None:
        """The run has ended."""
        self.times.close(elapsed_s)
        end = self._started_at + elapsed_s
        if end > self._through_at:
            self.note("idle", self._through_at, end)


class _Run:
    """The state of one run: a lock for decisions, and a mailbox for each worker."""

    def __init__(self, scheduler: Scheduler, tasks: RowGroups, logs: Sequence[_Log], cores: list[int]) -> None:
        self.scheduler = scheduler
        self.tasks = tasks
        self.logs = logs
        self.cores = cores
        self.error: BaseException | None = None
        self._decision = threading.Lock()
        self._mailboxes: list[SimpleQueue[_Order | _Errand | None]] = [SimpleQueue() for _ in logs]
        self._asleep = [False] * len(logs)

    def work(self, worker: int) -> None:
        """Be worker number `worker` until told to stop."""
        try:
            if self.cores:
                os.sched_setaffinity(0, {self.cores[worker % len(self.cores)]})  # 0: the calling thread
            self._report(worker, None, Started(worker))
            while (order := self._next_order(worker)) is not None:
                if isinstance(order, _Errand):
                    self._report(worker, None, self._take(worker, order.process))
                    continue
                report = self._carry_out(worker, order)
                if report.outcome is Outcome.STOPPED:
                    return
                if order.member > 0:
                    continue  # the leader reports
                if report.outcome is Outcome.THROUGH:
                    self.logs[worker].times.row_groups += 1
                    self._report(worker, order, Finished(worker, order.row_group))
                else:
                    work = self.tasks.work(worker)
                    self._report(worker, order, Boundary(worker, order.row_group, self.tasks.scores(), work))
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
        log, came_at = self.logs[worker], perf_counter()
        order = self._mailboxes[worker].get()
        woken_at = perf_counter()
        if self._asleep[worker]:
            self._asleep[worker] = False
            log.times.wait_s += woken_at - came_at
            log.note("wait", came_at, woken_at)
        elif isinstance(order, _Order) and order.member > 0:  # it left a team with its leader, and is now back
            log.times.probe_s += woken_at - came_at
            log.note("probe", came_at, woken_at)
        return order

    def _take(self, worker: int, process: int) -> Taken:
        """Take a row group from a queue that processes share; outside the lock, since it may have to come from afar."""
        started_at = perf_counter()
        row_group = self.tasks.take(worker, process)
        stopped_at = perf_counter()
        self.logs[worker].times.fetch_s += stopped_at - started_at
        self.logs[worker].note("fetch", started_at, stopped_at)
        return Taken(worker, process, row_group)

    def _carry_out(self, worker: int, order: _Order) -> Report:
        """Run a row group as a member of a crew; the leader gets it ready first, and only then calls the others."""
        started_at = perf_counter()
        if order.member == 0:
            self.tasks.open(worker, order.row_group)
            for member, other in enumerate(order.crew.workers[1:], start=1):
                self._mailboxes[other].put(_Order(order.row_group, order.crew, member))
        report = self.tasks.run(order.row_group, order.crew, order.member)
        self.logs[worker].ran(order, report, started_at, perf_counter())
        return report

    def _report(self, worker: int, order: _Order | None, event: Event) -> None:
        """Have the scheduler decide on an event, and hand out what it decides."""
        times, asked_at = self.logs[worker].times, perf_counter()
        with self._decision:
            decided_from = perf_counter()
            if isinstance(event, Boundary | Finished):
                self.tasks.dismiss(worker)  # the call is answered
            actions = self.scheduler.on_event(event)
            for action in actions:
                self._hand_out(action)
        done_at = perf_counter()
        times.lock_s += decided_from - asked_at
        if isinstance(event, Boundary) and order is not None:
            if any(isinstance(action, Team) and len(action.members) > len(order.crew.workers) for action in actions):
                times.recruit_s += done_at - decided_from
            else:
                times.probe_s += done_at - decided_from
            self.logs[worker].note("probe", asked_at, done_at, order.row_group)
        else:
            times.enlist_s += done_at - decided_from

    def _hand_out(self, action: Action) -> None:
        match action:
            case Run(worker, row_group):
                self._mailboxes[worker].put(_Order(row_group, self.tasks.crew((worker,)), 0))
            case Team(row_group, members):
                self._mailboxes[members[0]].put(_Order(row_group, self.tasks.crew(members), 0))
            case Call(worker, from_layer):
                self.tasks.call(worker, from_layer)
            case Dismiss(worker):
                self.tasks.dismiss(worker)
            case Sleep(worker):
                self._asleep[worker] = True
            case Take(worker, process):
                self._mailboxes[worker].put(_Errand(process))
            case Stop(worker):
                self._mailboxes[worker].put(None)
