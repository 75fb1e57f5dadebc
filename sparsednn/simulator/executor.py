"""Carries out a scheduler's actions in virtual time, at the costs that a cost model gives to every row group."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from sparsednn.execution.base import Timeline
from sparsednn.execution.worker_log import WorkerLog
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
)
from sparsednn.simulator.clock import VirtualTime
from sparsednn.simulator.team import VirtualTeam
from sparsednn.simulator.work import GroupCosts, Overheads

CutCosts = Callable[[int, int], GroupCosts]
"""Returns what rows ``start..stop-1`` cost as a row group."""

ORDERS, REPORTS, DECISIONS = range(3)
"""Kinds of events, in their order at one moment: orders reach workers, workers report, the scheduler decides."""


class SimulatedExecutor:
    """Carries out a scheduler's decisions in virtual time, as `ThreadExecutor` does in real time; deterministic.

    Decisions are made one at a time, under one lock; those who wait for it are served in the order in which they came.

    Parameters
    ----------
    n_workers : int
    overheads : Overheads, optional
        None: the protocol takes no time.
    slowdown : sequence of float, shape (n_workers + 1,), optional
        Entry n: how much longer everything takes while n workers are active; 1 everywhere unless given.
    speeds : sequence of float, shape (n_workers,), optional
        Of each worker's core; 0.5 takes twice as long. 1 unless given.
    trace : bool
        Return spans.
    process : int
        Number of the process in spans.
    """

    name = "simulated"

    def __init__(
        self,
        n_workers: int,
        overheads: Overheads | None = None,
        *,
        slowdown: Sequence[float] | None = None,
        speeds: Sequence[float] | None = None,
        trace: bool = False,
        process: int = 0,
    ) -> None:
        self.n_workers = n_workers
        self.overheads = overheads or Overheads.none(n_workers)
        self.slowdown = [1.0] * (n_workers + 1) if slowdown is None else list(slowdown)
        self.speeds = [1.0] * n_workers if speeds is None else list(speeds)
        self.trace = trace
        self.process = process
        if len(self.speeds) != n_workers or not min(self.speeds) > 0:
            raise ValueError(f"speeds={self.speeds}: one above 0 is needed for each of {n_workers} workers")
        if len(self.slowdown) != n_workers + 1 or not min(self.slowdown) > 0:
            raise ValueError(f"slowdown={self.slowdown}: one above 0 is needed for each of 0 to {n_workers} active workers")

    def run(self, scheduler: Scheduler, job: Job, costs: Sequence[GroupCosts], cut: CutCosts | None = None) -> Timeline:
        """Run until every worker has stopped.

        Parameters
        ----------
        scheduler : Scheduler
        job : Job
        costs : sequence of GroupCosts, one for each row group of the job
        cut : callable, optional
            For schedulers that cut row groups: ``cut(start, stop)`` returns what these rows cost.

        Returns
        -------
        Timeline
            Its seconds are virtual ones.

        Raises
        ------
        RuntimeError
            If the scheduler leaves workers asleep or row groups unfinished when nothing is left to happen.
        """
        job = job.of_workers(scheduler.n_wanted(job))
        scheduler.start(job)
        run = _VirtualRun(self, scheduler, job, costs, cut)
        run.time.run()
        run.check()
        elapsed_s = run.ended_s
        for log in run.logs:
            log.close(elapsed_s)
        return Timeline(elapsed_s, [log.times for log in run.logs], [span for log in run.logs for span in log.spans])


_Order = VirtualTeam | None
"""An order in a worker's mailbox: be a member of this team; None: stop."""


class _VirtualRun:
    """The state of one run: what each worker does, who is called, and when the lock is free."""

    def __init__(
        self, executor: SimulatedExecutor, scheduler: Scheduler, job: Job, costs: Sequence[GroupCosts], cut: CutCosts | None
    ) -> None:
        n, self.overheads, self.speeds = executor.n_workers, executor.overheads, executor.speeds
        self.scheduler, self.job, self.costs, self.cut_costs = scheduler, job, list(costs), cut
        self.time = VirtualTime(executor.slowdown)
        self.logs = [WorkerLog(executor.process, worker, trace=executor.trace) for worker in range(n)]
        self.layers = [0] * job.n_row_groups
        self.opened_s: dict[int, float] = {}
        self.scores = [0] * n
        self.teams: list[VirtualTeam | None] = [None] * n
        self.deciding = [True] * n
        self.stopped = [worker >= job.n_workers for worker in range(n)]
        self.calls: dict[int, int] = {}
        self.mailboxes: list[deque[_Order]] = [deque() for _ in range(n)]
        self.lock_free_s = 0.0
        self.ended_s = 0.0
        for worker in range(job.n_workers):
            self.time.at((worker + 1) * self.overheads.start_s, REPORTS, worker, self.report, Started(worker))

    def check(self) -> None:
        """Check that every worker has stopped and every row group is done."""
        if not all(self.stopped):
            asleep = [worker for worker, stopped in enumerate(self.stopped) if not stopped]
            raise RuntimeError(f"workers {asleep} wait for ever: the scheduler has left them without an order")
        missing = [group for group, layer in enumerate(self.layers) if layer < self.job.n_layers]
        if missing:
            raise RuntimeError(f"the scheduler stopped all workers but left row groups {missing} unfinished")

    def report(self, event: Event) -> None:
        """A worker asks for the lock, behind all that have asked before."""
        granted_s = max(self.time.now_s, self.lock_free_s)
        self.lock_free_s = granted_s + self.overheads.decision_s
        self.time.at(granted_s, DECISIONS, event.worker, self.decide, event, self.time.now_s)

    def decide(self, event: Event, asked_s: float) -> None:
        """The scheduler decides; what it decides is handed out when it is through."""
        self.calls.pop(event.worker, None)
        actions = self.scheduler.on_event(event)
        done_s = self.time.now_s + self.overheads.decision_s
        self.logs[event.worker].decided(event, actions, asked_s, self.time.now_s, done_s)
        self.time.at(done_s, ORDERS, event.worker, self.hand_out, event.worker, actions)

    def hand_out(self, decider: int, actions: Sequence[Action]) -> None:
        """Give orders. The worker that made the decision is awake; others have to wake up first."""
        self.deciding[decider] = False
        for action in actions:
            match action:
                case Run(worker, row_group):
                    self.send(worker, VirtualTeam(row_group, (worker,)), awake=worker == decider)
                case FormTeam(row_group, members):
                    self.send(members[0], VirtualTeam(row_group, members), awake=members[0] == decider)
                case Cut():
                    self.cut(action)
                case Stop(worker):
                    self.send(worker, None, awake=worker == decider)
                case Sleep(worker):
                    self.logs[worker].asleep = True
                case Call(worker, from_layer):
                    self.calls[worker] = from_layer
                    self.plan_exit(worker)
                case Dismiss(worker):
                    self.calls.pop(worker, None)
                    self.plan_exit(worker)
        self.read_mail(decider)

    def cut(self, action: Cut) -> None:
        """Make a row group of some rows."""
        if self.cut_costs is None or action.row_group != len(self.costs):
            raise RuntimeError(f"{action}: there are no rows to be cut, or {len(self.costs)} row groups and not another")
        self.costs.append(self.cut_costs(action.start, action.stop))
        self.layers.append(0)

    def send(self, worker: int, order: _Order, *, awake: bool) -> None:
        """Put an order into a mailbox."""
        delay_s = 0.0 if awake else self.overheads.wake_s
        self.time.at(self.time.now_s + delay_s, ORDERS, worker, self.receive, worker, order)

    def receive(self, worker: int, order: _Order) -> None:
        """An order has come; it waits while the worker is busy."""
        self.mailboxes[worker].append(order)
        self.read_mail(worker)

    def read_mail(self, worker: int) -> None:
        """A worker that has nothing to do takes its next order."""
        mailbox = self.mailboxes[worker]
        if not mailbox or self.deciding[worker] or self.teams[worker] is not None or self.stopped[worker]:
            return
        team = mailbox.popleft()
        self.logs[worker].woken(self.time.now_s, joins=team is not None and team.members[0] != worker)
        if team is None:
            self.stopped[worker], self.ended_s = True, self.time.now_s
            return
        self.teams[worker] = team
        team.joined_s[worker] = self.time.now_s
        if worker == team.members[0]:
            for other in team.members[1:]:
                self.send(other, team, awake=False)
        if len(team.joined_s) == len(team.members):
            self.begin(team)

    def begin(self, team: VirtualTeam) -> None:
        """All members are there and the row group goes on."""
        speeds = [self.speeds[member] for member in team.members]
        barrier_s = float(self.overheads.barrier_s[len(speeds)])
        self.opened_s.setdefault(team.row_group, self.time.now_s)
        team.begin(self.costs[team.row_group], self.layers[team.row_group], speeds, barrier_s, self.time)
        self.time.activate(len(team.members))
        self.plan_exit(team.members[0])

    def plan_exit(self, leader: int) -> None:
        """Find out where the leader's team will leave: at the end, or at a layer boundary if the leader is called."""
        team = self.teams[leader]
        if team is None or not team.running or team.members[0] != leader:
            return
        exit_s = team.plan_exit(self.calls.get(leader), self.time.work_s)
        self.time.after_work(exit_s, REPORTS, leader, self.leave, team, team.n_plans)

    def leave(self, team: VirtualTeam, plan: int) -> None:
        """The team leaves its row group, unless it has planned anew since; its leader reports."""
        if plan != team.n_plans:
            return
        leader, group, now_s = team.members[0], team.row_group, self.time.now_s
        self.scores[leader] = self.layers[group] = team.exit_layer
        self.time.activate(-len(team.members))
        for member, stretch in zip(team.members, team.end(now_s), strict=True):
            self.logs[member].ran(stretch)
            self.teams[member] = None
        self.deciding[leader] = True
        if team.exit_layer == self.job.n_layers:
            self.logs[leader].times.row_groups += 1
            done = int(self.costs[group].multiply_adds.sum())
            self.report(Finished(leader, group, now_s - self.opened_s[group], done))
        else:
            scores = tuple(self.score(worker) for worker in range(len(self.teams)))
            self.report(Boundary(leader, group, scores, int(self.costs[group].step_work[team.exit_layer])))
        for member in team.members[1:]:
            self.read_mail(member)

    def score(self, worker: int) -> int:
        """Layers finished of the row group that a worker runs or leads, or ran or led last."""
        team = self.teams[worker]
        if team is None or not team.running or team.members[0] != worker:
            return self.scores[worker]
        return team.layer_at(self.time.work_s)
