"""Implements data-then-model parallelism: workers that are through with their own rows help those that are not.

Every worker starts with a row group of its own. One that is through becomes idle; a worker that is still running probes for
idle ones at its layer boundaries, from a certain layer on, and takes all of them into its team, which from then on splits the
columns of each layer. A team may grow at any later boundary. When its row group is through, all its members are idle again. The
run ends when all workers are.

The paper's contribution of that name, with its three strategies and its idle queue for each NUMA domain. In its program every
worker looks at the idle queue at each layer boundary; here a worker is called when there is somebody to take, and it recruits
only as many as there is work for (`SchedulerOptions.minimum_work`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from sparsednn.options.groups import STRATEGIES
from sparsednn.schedulers.base import (
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
    Sleep,
    Started,
    Stop,
    Taken,
    require,
)

PROBES_IN_VAIN = 8
"""How often in a run, at most, a worker asks for helpers while it has too little work to share."""


class DataThenModelScheduler(Scheduler):
    """Recruits idle workers; `options.strategy` says who may.

    A worker is *called* while there are idle workers that it might take, so that its kernel returns at a layer boundary; a
    worker that is not called is never disturbed.
    """

    name = "data_then_model"
    tuned: ClassVar[Mapping[str, tuple[Any, ...]]] = {"strategy": STRATEGIES}

    #: The NUMA domain of each worker; the same during a run.
    domains: tuple[int, ...]

    #: How many workers each domain has; all and only domains that have one. The same during a run.
    domain_sizes: dict[int, int]

    #: The layer from which on workers recruit; from 0 to ``n_layers``, and the same during a run.
    from_layer: int

    #: The members of each team by its leader, who is the first of them; a worker that runs alone is a team of one. All and only
    #: teams whose row groups are not through: a worker is in one team, once, or idle. Row group i is led by worker i.
    teams: dict[int, tuple[int, ...]]

    #: The idle workers of each domain, in the order in which they came; all and only workers that are in no team.
    idle: dict[int, list[int]]

    #: All and only leaders that somebody idle is within reach of: they are called, and have not reported since.
    called: set[int]

    #: For each worker, the layer from which on it reports when it is called: `from_layer`, or later if it has asked in vain. An
    #: idle worker has not.
    asks_from: list[int]

    #: Layers that a leader that has asked in vain waits before it asks again; the same during a run.
    patience: int

    def n_row_groups(self, n_workers: int) -> int:
        """One row group for each worker."""
        return n_workers

    def start(self, job: Job) -> None:
        """Every worker has its own row group ahead of it."""
        if job.n_row_groups != job.n_workers:
            raise ValueError(f"{self.name}: {job.n_row_groups} row groups for {job.n_workers} workers; one for each is needed")
        self.domains = job.domains
        self.domain_sizes = job.domain_sizes()
        self.from_layer = math.ceil(self.options.recruiting_ratio * job.n_layers)
        self.teams = {worker: (worker,) for worker in range(job.n_workers)}
        self.idle = {domain: [] for domain in sorted(self.domain_sizes)}
        self.called = set()
        self.asks_from = [self.from_layer] * job.n_workers
        self.patience = math.ceil(job.n_layers / PROBES_IN_VAIN)

    def on_event(self, event: Event) -> list[Action]:
        """Run one's own rows; enlist when through; recruit at a boundary."""
        match event:
            case Started(worker):
                return [Run(worker, row_group=worker), *self._call_or_dismiss()]
            case Taken():  # only if somebody has asked for that
                return []
            case Finished(worker):
                return self._enlist(self.teams.pop(worker))
            case Boundary(worker, row_group):
                self.called.discard(worker)
                members = self._recruit(event)
                if len(members) == 1:
                    return [Run(worker, row_group), *self._call_or_dismiss()]
                return [FormTeam(row_group, members), *self._call_or_dismiss()]

    def _enlist(self, members: tuple[int, ...]) -> list[Action]:
        """Make all members idle; when every worker is idle, all stop."""
        for worker in members:
            self.idle[self.domains[worker]].append(worker)
        self.called.discard(members[0])
        self.asks_from[members[0]] = self.from_layer
        if not self.teams:
            return [Stop(worker) for worker in range(len(self.domains))]
        return [*(Sleep(worker) for worker in members), *self._call_or_dismiss()]

    def _recruit(self, event: Boundary) -> tuple[int, ...]:
        """Take the idle workers into the team, if this worker may and there is work enough for them."""
        members, helpers = self.teams[event.worker], self._within_reach(event.worker)
        if not helpers or not self._may_pick(event.worker, event.scores):
            return members
        wanted = min(len(helpers), event.work // max(self.options.minimum_work, 1) - len(members))
        if wanted <= 0:
            self.asks_from[event.worker] = event.scores[event.worker] + self.patience
            return members
        for worker in helpers[:wanted]:
            self.idle[self.domains[worker]].remove(worker)
        self.teams[event.worker] = members + tuple(helpers[:wanted])
        return self.teams[event.worker]

    def _may_pick(self, worker: int, scores: tuple[int, ...]) -> bool:
        """Whether the strategy lets this worker recruit now."""
        running = [scores[other] for other in self.teams]
        match self.options.strategy:
            case "slower_first":
                return scores[worker] <= min(running) + self.options.threshold
            case "faster_first":
                return scores[worker] >= max(running) - self.options.threshold
            case _:
                return True

    def _within_reach(self, worker: int) -> list[int]:
        """Idle workers of the worker's own domain, then those of domains that are idle as a whole."""
        own = self.domains[worker]
        found = list(self.idle[own])
        for domain, idle in self.idle.items():
            if domain != own and len(idle) == self.domain_sizes[domain]:
                found += idle
        return found

    def _call_or_dismiss(self) -> list[Action]:
        """Call the workers that have idle ones to take, and no others; one with too little work to share asks again later."""
        actions: list[Action] = []
        for worker in self.teams:
            wanted = bool(self._within_reach(worker))
            if wanted and worker not in self.called:
                self.called.add(worker)
                actions.append(Call(worker, self.asks_from[worker]))
            elif worker in self.called and not wanted:
                self.called.remove(worker)
                actions.append(Dismiss(worker))
        return actions

    def validate(self) -> None:
        """See `Scheduler.validate`."""
        workers = range(len(self.domains))
        require(self.domain_sizes == dict(Counter(self.domains)), "domain_sizes: as many workers as `domains` has")
        require(all(team[:1] == (leader,) for leader, team in self.teams.items()), "teams: the leader is the first member")
        in_teams = [worker for team in self.teams.values() for worker in team]
        idle = [worker for queue in self.idle.values() for worker in queue]
        require(sorted(in_teams + idle) == list(workers), "teams, idle: each worker is in one team, once, or idle")
        require(self.idle.keys() == self.domain_sizes.keys(), "idle: each domain has a queue")
        at_home = all(self.domains[worker] == domain for domain, queue in self.idle.items() for worker in queue)
        require(at_home, "idle: each worker is in the queue of its domain")
        reached = {leader for leader in self.teams if self._within_reach(leader)}
        require(self.called == reached, "called: all and only leaders that somebody idle is within reach of")
        require(len(self.asks_from) == len(workers), "asks_from: each worker has a layer")
        require(min(self.asks_from) >= self.from_layer, "asks_from: nobody asks before `from_layer`")
        require(
            all(self.asks_from[worker] == self.from_layer for worker in idle), "asks_from: who is idle has not asked in vain"
        )
        require(self.patience >= 0, "patience: a number of layers")
