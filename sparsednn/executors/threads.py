"""Real threads in real time: each worker is a thread, and decisions are made under one lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter

from sparsednn.executors.base import Tasks, WorkerTimes
from sparsednn.schedulers.base import Action, Event, Finished, Job, Run, Scheduler, Started, Stop

WATCH_INTERVAL_S = 0.1


class ThreadExecutor:
    """Runs a scheduler's decisions on `n_workers` threads.

    The scheduler is called under one lock, so each decision is atomic; work goes on outside it, in kernels that have released
    the GIL. Actions reach a worker through a mailbox of its own. With `pin`, worker *i* stays on the *i*-th core that this
    process may use (Linux), and around again where there are more workers than cores.
    """

    name = "threads"

    def __init__(self, n_workers: int, *, pin: bool = False) -> None:
        self.n_workers = n_workers
        self.pin = pin

    def run(self, scheduler: Scheduler, job: Job, tasks: Tasks, watch: Callable[[], None] | None = None) -> list[WorkerTimes]:
        """Run until every worker has stopped; return where their time went.

        `watch` is called by the waiting thread a few times a second, and once at the end (to show progress).

        Raises
        ------
        Exception
            The first exception of any worker, after the others have been stopped at their next layer boundary.
        KeyboardInterrupt
            Likewise, after Ctrl-C.
        """
        run = _Run(scheduler, tasks, self.n_workers, sorted(os.sched_getaffinity(0)) if self.pin else [])
        scheduler.start(job)
        started_at = perf_counter()
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
        for times in run.times:
            times.idle_s = max(elapsed_s - times.busy_s, 0.0)
        return run.times


def _join(thread: threading.Thread, watch: Callable[[], None] | None) -> None:
    if watch is None:
        thread.join()
        return
    while thread.is_alive():
        thread.join(WATCH_INTERVAL_S)
        watch()


class _Run:
    """The state of one run: a lock for decisions, and a mailbox for each worker."""

    def __init__(self, scheduler: Scheduler, tasks: Tasks, n_workers: int, cores: list[int]) -> None:
        self.scheduler = scheduler
        self.tasks = tasks
        self.cores = cores
        self.times = [WorkerTimes(worker) for worker in range(n_workers)]
        self.error: BaseException | None = None
        self._decision = threading.Lock()
        self._mailboxes: list[SimpleQueue[Action]] = [SimpleQueue() for _ in range(n_workers)]

    def work(self, worker: int) -> None:
        """Be worker number `worker` until told to stop."""
        try:
            if self.cores:
                os.sched_setaffinity(0, {self.cores[worker % len(self.cores)]})  # 0: the calling thread
            self._report(Started(worker))
            while isinstance(action := self._mailboxes[worker].get(), Run):
                started_at = perf_counter()
                finished = self.tasks.run(worker, action.row_group)
                self.times[worker].busy_s += perf_counter() - started_at
                if not finished:
                    return
                self.times[worker].row_groups += 1
                self._report(Finished(worker, action.row_group))
        except BaseException as error:  # whatever it is, the other workers must not wait for ever
            with self._decision:
                self.error = self.error or error
            self.abort()

    def abort(self) -> None:
        """Stop every worker, at its next layer boundary if it is running."""
        self.tasks.request_stop()
        for worker, mailbox in enumerate(self._mailboxes):
            mailbox.put(Stop(worker))

    def _report(self, event: Event) -> None:
        asked_at = perf_counter()
        with self._decision:
            self.times[event.worker].lock_s += perf_counter() - asked_at
            for action in self.scheduler.on_event(event):
                self._mailboxes[action.worker].put(action)
