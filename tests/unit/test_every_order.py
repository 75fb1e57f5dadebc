"""Every order of events of every scheduler, for runs that are small enough to try them all.

Workers may be as fast or slow as they like: from every state that can be reached, each worker that has a step to take may be
the next to take it. A step is a layer, or reporting an event. What a kernel sees of a call is modelled as it is: it looks at
each layer boundary, after its first step, and a call may come, or be taken back, at any moment before.
"""

from __future__ import annotations

import itertools
import pickle
import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsednn.schedulers import (
    SCHEDULERS,
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
    SchedulerOptions,
    Sleep,
    Started,
    Stop,
    Take,
    Taken,
)
from sparsednn.schedulers.global_work_stealing import GlobalWorkStealingScheduler
from tests.schedulers import PlainOutlook, decide, job_of, started


@dataclass
class Team:
    """A row group that is being run, from `layer` on."""

    row_group: int
    members: tuple[int, ...]
    fresh: bool = True


@dataclass
class World:
    """All that there is: the scheduler, what each worker is doing, and how far each row group is."""

    scheduler: Scheduler
    n_layers: int
    layers: list[int]
    started: set[int] = field(default_factory=set)
    stopped: set[int] = field(default_factory=set)
    teams: dict[int, Team] = field(default_factory=dict)
    events: dict[int, Event] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)
    led: dict[int, int] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    taken: int = 0

    def movers(self, n_workers: int) -> list[int]:
        """Workers that can take a step: those that have not started, have something to report, or lead a team."""
        return [w for w in range(n_workers) if w not in self.started or w in self.events or w in self.teams]

    def step(self, worker: int) -> None:
        """Let one worker take its next step."""
        if worker not in self.started:
            self.started.add(worker)
            self.deliver(Started(worker))
        elif worker in self.events:
            self.deliver(self.events.pop(worker))
        else:
            self.run_layer(worker)

    def run_layer(self, leader: int) -> None:
        """A team is at a boundary: it leaves if its leader is called, and else takes one more layer."""
        team = self.teams[leader]
        layer = self.layers[team.row_group]
        if not team.fresh and layer >= self.calls.get(leader, self.n_layers + 1):
            del self.teams[leader]
            self.events[leader] = Boundary(leader, team.row_group, self.scores(), 10)
            return
        team.fresh = False
        self.layers[team.row_group] = layer + 1
        if layer + 1 == self.n_layers:
            del self.teams[leader]
            self.events[leader] = Finished(leader, team.row_group, *self.measured(team.row_group))

    def scores(self) -> tuple[int, ...]:
        """Layers of the row group that each worker leads, or has led last; if none is cut, row group i is worker i's own."""
        if not self.rows:
            return tuple(self.layers)
        return tuple(self.layers[self.led[worker]] if worker in self.led else 0 for worker in range(max(self.started) + 1))

    def measured(self, row_group: int) -> tuple[float, int]:
        """A walk and the rows, in seconds; a multiply-add a row. Nothing of row groups that were not cut."""
        return (self.rows[row_group] + 1.0, self.rows[row_group]) if self.rows else (0.0, 0)

    def deliver(self, event: Event) -> None:
        """Have the scheduler decide and check what it decides."""
        self.calls.pop(event.worker, None)
        for action in decide(self.scheduler, event):
            self.act(action)

    def act(self, action: Action) -> None:
        match action:
            case Run(worker, row_group):
                self.begin(row_group, (worker,))
            case FormTeam(row_group, members):
                self.begin(row_group, members)
            case Call(worker, from_layer):
                self.calls[worker] = from_layer
            case Dismiss(worker):
                self.calls.pop(worker, None)
            case Cut(row_group, start, stop):
                assert (row_group, start) == (len(self.layers), sum(self.rows)), "rows were left out, or cut twice"
                assert start < stop, "an empty row group was cut"
                self.layers.append(0)
                self.rows.append(stop - start)
            case Take(worker, process):
                self.require_free(worker)
                number = self.taken if self.taken < len(self.layers) else None
                self.taken += number is not None
                self.events[worker] = Taken(worker, process, number)
            case Sleep(worker):
                self.require_free(worker)
            case Stop(worker):
                self.require_free(worker)
                self.stopped.add(worker)

    def begin(self, row_group: int, members: tuple[int, ...]) -> None:
        assert self.layers[row_group] < self.n_layers, "a row group that is through was given away again"
        assert row_group not in {team.row_group for team in self.teams.values()}, "a row group was given away twice"
        assert len(set(members)) == len(members)
        for worker in members:
            assert worker in self.started, "a worker that has not started was recruited"
            self.require_free(worker)
        self.teams[members[0]] = Team(row_group, members)
        if self.rows:
            self.led[members[0]] = row_group

    def require_free(self, worker: int) -> None:
        busy = {member for team in self.teams.values() for member in team.members} | set(self.events)
        assert worker not in busy, "a worker that is busy was given something else"
        assert worker not in self.stopped, "a worker that has stopped was given something"


def _key(world: World) -> str:
    state = vars(world.scheduler)
    return repr([*((name, state[name]) for name in sorted(state)), *map(_plain, vars(world).values())])


def _plain(value: Any) -> Any:
    if isinstance(value, Scheduler):
        return None
    if isinstance(value, dict):
        return [(name, value[name]) for name in sorted(value)]
    return sorted(value) if isinstance(value, set) else value


class Found(NamedTuple):
    """What an exploration has found: the states in which nobody can take a step, and how many states there are."""

    ends: list[World]
    n_states: int
    largest_team: int


def _explore(scheduler: Scheduler, n_workers: int, n_layers: int, outlook: PlainOutlook) -> Found:
    """Take every step from every state that can be reached."""
    job = job_of(scheduler, n_workers, n_layers, outlook)
    started(scheduler, job)
    todo, ends = [World(scheduler, n_layers, [0] * job.n_row_groups)], list[World]()
    seen, largest_team = {_key(todo[0])}, 0
    while todo:
        world = todo.pop()
        movers = world.movers(n_workers)
        if not movers:
            assert set(world.layers) <= {n_layers}, "nobody can take a step, but row groups are not through"
            assert world.stopped == set(range(n_workers)), "nobody can take a step, but workers have not been stopped"
            assert sum(world.rows) == (outlook.n_rows if scheduler.cuts else 0), "rows are left"
            ends.append(world)
        # a copy of all that there is, several times as fast as copy.deepcopy; for the last step nobody needs one
        packed = pickle.dumps(world) if len(movers) > 1 else b""
        for worker in movers:
            following = pickle.loads(packed) if worker != movers[-1] else world
            following.step(worker)
            largest_team = max(largest_team, *(len(team.members) for team in following.teams.values()), 0)
            key = _key(following)
            if key not in seen:
                seen.add(key)
                todo.append(following)
    return Found(ends, len(seen), largest_team)


MOST_STATES = ("global_work_stealing", 4, 2)
"""As many as of all others together; three workers of it take from queues and from each other as four do."""

CASES = [
    pytest.param(
        name, n_workers, n_layers, id=f"{name}, {n_workers} workers, {n_layers} layers",
        marks=pytest.mark.slow if (name, n_workers, n_layers) == MOST_STATES else (),
    )
    for name in SCHEDULERS
    for n_workers in (1, 2, 3, 4)
    for n_layers in (2, 3, 4)
    if n_workers * n_layers <= 9 or (name == "model")
]  # fmt: skip


@pytest.mark.parametrize(("name", "n_workers", "n_layers"), CASES)
def test_every_order_ends_with_every_row_group_through(name: str, n_workers: int, n_layers: int) -> None:
    options = SchedulerOptions(split_factor=1 if n_workers > 3 else 2, recruiting_ratio=0.3, minimum_work=0)
    found = _explore(SCHEDULERS[name](options), n_workers, n_layers, PlainOutlook(n_workers + 1, shared=0.7))
    assert found.ends
    assert found.n_states > n_workers


@pytest.mark.parametrize("strategy", ["slower_first", "faster_first"])
@pytest.mark.parametrize("minimum_work", [0, 4])
def test_every_order_with_other_strategies(strategy: str, minimum_work: int) -> None:
    options = SchedulerOptions(strategy=strategy, threshold=1, recruiting_ratio=0, minimum_work=minimum_work)
    assert _explore(SCHEDULERS["data_then_model"](options), 3, 3, PlainOutlook(0)).ends


@pytest.mark.parametrize(
    ("n_workers", "outlook", "largest_team", "n_sizes"),
    [
        pytest.param(3, PlainOutlook(0), 0, 0, id="no rows"),
        pytest.param(3, PlainOutlook(1), 3, 1, id="one row, for a team of all"),
        pytest.param(3, PlainOutlook(6, start_s=100), 3, 1, id="who starts first begins alone, and its team grows"),
        pytest.param(3, PlainOutlook(6, start_s=0.5), 3, 1, id="two wait for the third"),
        pytest.param(3, PlainOutlook(9, shared=0.7), 3, 1, id="recruited at the end"),
        pytest.param(4, PlainOutlook(5, shared=0.7), 4, 2, id="recruited into one of several teams"),
        pytest.param(3, PlainOutlook(6, shared=0.7, wake_s=1), 1, 1, id="too dear to be recruited"),
        pytest.param(3, PlainOutlook(6, shared=0.7, wake_s=0.32), 1, 1, id="called, but too late to be worth it"),
        pytest.param(3, PlainOutlook(6, shared=0), 1, 1, id="no teams"),
        pytest.param(2, PlainOutlook(26, walk_s=0.01, shared=0.7), 2, 3, id="smaller row groups are tried"),
    ],
)
def test_every_order_of_cutting(n_workers: int, outlook: PlainOutlook, largest_team: int, n_sizes: int) -> None:
    scheduler = SCHEDULERS["adaptive"](SchedulerOptions(walk_share=1))
    found = _explore(scheduler, n_workers, 3 if n_workers < 4 else 2, outlook)
    assert found.largest_team == largest_team
    assert {len(set(world.rows)) for world in found.ends} == {n_sizes}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize(("n_workers", "n_layers"), [(3, 4), (4, 2), (4, 3)])
def test_every_order_of_larger_runs(name: str, n_workers: int, n_layers: int) -> None:
    options = SchedulerOptions(split_factor=1, minimum_work=0)
    assert _explore(SCHEDULERS[name](options), n_workers, n_layers, PlainOutlook(n_workers + 2, shared=0.7)).ends


@given(
    n_processes=st.integers(1, 4),
    n_workers=st.integers(1, 3),
    n_groups=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_processes_that_steal_run_all_row_groups_once(n_processes: int, n_workers: int, n_groups: list[int], seed: int) -> None:
    """Each process has a scheduler of its own; what they share is how many row groups of each queue are taken."""
    rng, taken = random.Random(seed), [0] * n_processes
    schedulers = [GlobalWorkStealingScheduler() for _ in range(n_processes)]
    for process, scheduler in enumerate(schedulers):
        started(scheduler, Job(n_workers, n_groups[process], 1, process=process, n_processes=n_processes))
    starts = itertools.product(range(n_processes), range(n_workers))
    events: list[tuple[int, Event]] = [(process, Started(worker)) for process, worker in starts]
    ran: list[tuple[int, int]] = []
    owner: dict[tuple[int, int], int] = {}
    n_stopped = 0
    while events:
        process, event = events.pop(rng.randrange(len(events)))
        (action,) = decide(schedulers[process], event)
        match action:
            case Take(worker, victim):
                number = taken[victim] if taken[victim] < n_groups[victim] else None
                taken[victim] += number is not None
                owner[process, worker] = victim
                events.append((process, Taken(worker, victim, number)))
            case Run(worker, row_group):
                ran.append((owner[process, worker], row_group))
                events.append((process, Finished(worker, row_group)))
            case Stop():
                n_stopped += 1
    assert sorted(ran) == [(process, group) for process in range(n_processes) for group in range(n_groups[process])]
    assert n_stopped == n_processes * n_workers
