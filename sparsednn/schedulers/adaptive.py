"""Implements adaptive scheduling: row groups are cut as the run goes, for teams as large as a forecast finds best.

Between data and model parallelism, and beyond the paper. Before the run, an outlook (a cost model and the work counts of a few
rows) tells how many workers are worth starting, how many of them should share a row group, and how many rows it should have.
All rows are spread, so that row groups of a size are alike: what one has taken tells whether another size is faster. When all
rows are given away, those who are through help the others, as in data-then-model.

Handing out work in rounds whose size follows from what is left is due to C. D. Polychronopoulos and D. J. Kuck, "Guided
Self-Scheduling: A Practical Scheduling Scheme for Parallel Supercomputers", IEEE Transactions on Computers C-36(12), 1987,
doi:10.1109/TC.1987.5009495; here rounds are alike, and helpers even out the last.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    Taken,
    require,
)
from sparsednn.schedulers.outlook import Outlook
from sparsednn.schedulers.sizing import GroupSizes, Sizing, best_sizing, best_workers

WORTH = 3.0
"""Recruiting must be expected to save so many times what a decision and a wake-up take."""


@dataclass
class _RunningTeam:
    """The workers of a row group.

    Attributes
    ----------
    row_group, n_rows, halvings : int
        The row group, how many rows it has, and which of the sizes that is.
    members : tuple of int
        The first one leads.
    wanted : int
        Members that it should have; more than there are if it has begun while workers were still to start.
    layer : int
        Where it was seen last.
    as_planned : bool
        Whether it has been of the planned size from its first layer on, so that its time can be compared with others'.
    called : bool
        Whether its leader is called and has not reported since.
    """

    row_group: int
    n_rows: int
    halvings: int
    members: tuple[int, ...]
    wanted: int
    layer: int = 0
    as_planned: bool = True
    called: bool = False

    @property
    def short(self) -> int:
        """Members that are still to come."""
        return max(self.wanted - len(self.members), 0)


class AdaptiveScheduler(Scheduler):
    """Cuts a row group whenever workers for a team are free; when no rows are left, those who are free are recruited."""

    name = "adaptive"
    cuts = True

    #: What is expected of the rows; the same during a run.
    outlook: Outlook

    #: Layers of the network, workers of the run, and the NUMA domain of each; the same during a run.
    n_layers: int

    #: Workers that are started; at least one.
    n_workers: int

    #: The NUMA domain of each worker: those of one domain are put into a team first. The same during a run.
    domains: tuple[int, ...]

    #: The sizes of teams and row groups that were expected to be the fastest; the same during a run.
    sizing: Sizing

    #: The sizes of the row groups to come, by what has been measured.
    sizes: GroupSizes

    #: The first row that is in no row group; from 0 to ``outlook.n_rows``. All rows before it are in one, each once.
    next_row: int

    #: The number of the next row group.
    next_group: int

    #: The teams by their leaders: all and only those whose row groups are not through.
    teams: dict[int, _RunningTeam]

    #: Workers that have started and are in no team, those first that have waited longest; none that has been stopped.
    idle: list[int]

    #: Workers that have started: each is in one team, once, or idle, or stopped.
    started: set[int]

    #: Workers that have been stopped, which they are only when no rows and no teams are left.
    stopped: set[int]

    def n_row_groups(self, n_workers: int) -> int:
        """None before the run."""
        return 0

    def n_wanted(self, job: Job) -> int:
        """No more workers than bring something beyond what starting them takes."""
        return best_workers(_outlook_of(job), job.n_workers, self.options.walk_share)

    def start(self, job: Job) -> None:
        """Settle the sizes of teams and row groups."""
        self.outlook, self.n_layers = _outlook_of(job), job.n_layers
        self.n_workers, self.domains = job.n_workers, job.domains
        self.sizing = best_sizing(self.outlook, job.n_workers, self.options.walk_share)
        n_teams = job.n_workers // self.sizing.team_size
        self.sizes = GroupSizes(self.outlook.n_rows, n_teams, self.sizing.group_rows)
        self.next_row = self.next_group = 0
        self.teams, self.idle = {}, []
        self.started, self.stopped = set(), set()

    def on_event(self, event: Event) -> list[Action]:
        """Cut row groups for those who are free; recruit at a boundary."""
        match event:
            case Started(worker):
                self.started.add(worker)
                return self._enlist((worker,))
            case Finished(worker):
                team = self.teams.pop(worker)
                if team.as_planned:
                    self.sizes.note(team.halvings, event.seconds, event.multiply_adds)
                return self._enlist(team.members)
            case Boundary(worker):
                team = self.teams[worker]
                team.called, team.layer = False, event.scores[worker]
                self._recruit(team)
                return [_order(team), *self._begin(), *self._call_or_dismiss()]
            case Taken():  # only if somebody has asked for that
                return []

    def _enlist(self, members: tuple[int, ...]) -> list[Action]:
        """Make all members idle, and start teams; who is left over sleeps, or stops if there will be no more work."""
        self.idle += members
        actions = self._begin(awake=members)
        if not self.teams and self.next_row == self.outlook.n_rows:
            stopping, self.idle = self.idle, []
            self.stopped.update(stopping)
            return [*actions, *(Stop(worker) for worker in stopping)]
        sleeping = [Sleep(worker) for worker in members if worker in self.idle]
        return [*actions, *sleeping, *self._call_or_dismiss()]

    def _begin(self, awake: tuple[int, ...] = ()) -> list[Action]:
        """Cut row groups while there are rows and workers for another team; who is awake leads, and need not be woken."""
        actions: list[Action] = []
        while self.next_row < self.outlook.n_rows and self._may_begin():
            n_rows, halvings = self.sizes.take(self.outlook.n_rows - self.next_row)
            members = self._members(min(self._n_spare(), self.sizing.team_size), awake)
            self.idle = [worker for worker in self.idle if worker not in members]
            wanted = len(members) if self._all_started() else self.sizing.team_size
            planned = len(members) == self.sizing.team_size
            team = _RunningTeam(self.next_group, n_rows, halvings, members, wanted, as_planned=planned)
            self.teams[members[0]] = team
            actions += [Cut(self.next_group, self.next_row, self.next_row + n_rows), _order(team)]
            self.next_row, self.next_group = self.next_row + n_rows, self.next_group + 1
        return actions

    def _may_begin(self) -> bool:
        """Whether a team is to begin with those who are idle and kept for no other.

        A team has to finish its first layer, in which there is most to do, before it can grow. So while workers are still
        starting, one that would be short of members waits for them if with them it is through that layer sooner. Its leader
        gets the row group ready alone, however many there are: that is no reason to wait.
        """
        spare = self._n_spare()
        short = self.sizing.team_size - spare
        if spare <= 0 or short <= 0 or self._all_started():
            return spare > 0
        n_rows, n_coming = self.sizes.rows_of(self.sizes.halvings), min(short, self.n_workers - len(self.started))
        whole_s = n_coming * self.outlook.start_s + self.outlook.first_layer_s(n_rows, spare + n_coming)
        return self.outlook.first_layer_s(n_rows, spare) < whole_s

    def _n_spare(self) -> int:
        """Return how many idle workers are kept for no team that is short of members."""
        return len(self.idle) - sum(team.short for team in self.teams.values() if self._is_worth(team, team.short))

    def _members(self, n: int, awake: tuple[int, ...]) -> tuple[int, ...]:
        """Choose idle workers for a team: who is awake leads; then come those of its domain, and who has waited longest."""
        leader = next((worker for worker in awake if worker in self.idle), self.idle[0])
        others = [worker for worker in self.idle if worker != leader]
        others.sort(key=lambda worker: (self.domains[worker] != self.domains[leader], worker not in awake))
        return (leader, *others[: n - 1])

    def _recruit(self, team: _RunningTeam) -> None:
        """Take idle workers into a team that stands at a layer boundary, if they are worth it."""
        n_helpers = self._n_helpers(team)
        if n_helpers:
            own = self.domains[team.members[0]]
            helpers = sorted(self.idle, key=lambda worker: self.domains[worker] != own)[:n_helpers]
            self.idle = [worker for worker in self.idle if worker not in helpers]
            team.members += tuple(helpers)
            team.as_planned = False

    def _n_helpers(self, team: _RunningTeam) -> int:
        """Return how many of the idle workers a team may have; 0 if they would not be worth it."""
        if not self.idle:
            return 0
        if team.short:  # so that it need not be called for each worker that starts, it grows by doubling
            n = min(team.short, len(self.idle))
            enough = n >= min(len(team.members), team.short) or self._all_started()
        else:
            n = min(self._fair_size() - len(team.members), len(self.idle))
            enough = self.next_row == self.outlook.n_rows and self._all_started()
        return n if enough and self._is_worth(team, n) else 0

    def _fair_size(self) -> int:
        """Return how many members a team has if all who are idle are given to those that they are worth it for."""
        in_need = [len(team.members) for team in self.teams.values() if self._is_worth(team, len(self.idle))]
        return -(-(len(self.idle) + sum(in_need)) // max(len(in_need), 1))

    def _is_worth(self, team: _RunningTeam, n_helpers: int) -> bool:
        """Whether helpers are expected to save more than it takes to recruit them, in the layers that may be left."""
        if n_helpers <= 0 or not self.sizing.helps:
            return False
        n = len(team.members)
        saved_s = self.outlook.team_s(team.n_rows, n) - self.outlook.team_s(team.n_rows, n + n_helpers)
        return saved_s * (1 - team.layer / self.n_layers) > WORTH * (self.outlook.decision_s + self.outlook.wake_s)

    def _all_started(self) -> bool:
        return len(self.started) == self.n_workers

    def _call_or_dismiss(self) -> list[Action]:
        """Call the teams that have helpers to take, and no others."""
        actions: list[Action] = []
        for leader, team in self.teams.items():
            wanted = self._n_helpers(team) > 0
            if wanted != team.called:
                team.called = wanted
                actions.append(Call(leader, from_layer=team.layer) if wanted else Dismiss(leader))
        return actions

    def validate(self) -> None:
        """See `Scheduler.validate`."""
        in_teams = [worker for team in self.teams.values() for worker in team.members]
        first = all(team.members[:1] == (leader,) for leader, team in self.teams.items())
        require(first, "teams: the leader is the first member")
        places = [*in_teams, *self.idle, *self.stopped]
        require(sorted(places) == sorted(self.started), "teams, idle, stopped: each worker that has started is in one, once")
        require(self.started <= set(range(self.n_workers)), "started: only workers of the job have started")
        require(len(self.domains) == self.n_workers >= 1, "domains: each worker has one, and there is a worker")
        require(0 <= self.next_row <= self.outlook.n_rows, "next_row: the rows that are cut are rows of the process")
        require((self.next_row > 0) == (self.next_group > 0), "next_group: there are row groups if rows are cut")
        running = [team.row_group for team in self.teams.values()]
        require(len(set(running)) == len(running), "teams: each has a row group of its own")
        require(all(0 <= group < self.next_group for group in running), "teams: they run row groups that have been cut")
        require(all(team.n_rows > 0 for team in self.teams.values()), "teams: no row group is empty")
        called = all(team.called == (self._n_helpers(team) > 0) for team in self.teams.values())
        require(called, "called: all and only teams that somebody idle is worth recruiting for")
        done = not self.teams and self.next_row == self.outlook.n_rows
        require(done or not self.stopped, "stopped: nobody, while there is work")
        require(1 <= self.sizing.team_size <= self.n_workers, "sizing: a team has from one to all workers")
        require(self.sizes.halvings in self.sizes.tried >= self.sizes.costs.keys(), "sizes: what is used or measured was tried")


def _order(team: _RunningTeam) -> Action:
    """Return the action by which a team goes on with its row group."""
    if len(team.members) == 1:
        return Run(team.members[0], team.row_group)
    return FormTeam(team.row_group, team.members)


def _outlook_of(job: Job) -> Outlook:
    if job.outlook is None:
        raise ValueError("adaptive: the job has no outlook, by which row groups are cut")
    return job.outlook
