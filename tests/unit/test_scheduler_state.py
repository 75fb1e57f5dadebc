"""The state of schedulers: every part is declared with what it means, and each broken invariant is named."""

from __future__ import annotations

import inspect
import json
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from sparsednn.execution.threads import ThreadExecutor
from sparsednn.schedulers import (
    SCHEDULERS,
    Boundary,
    Event,
    Finished,
    Job,
    Scheduler,
    SchedulerOptions,
    Started,
    Taken,
)
from sparsednn.schedulers.data_then_model import DataThenModelScheduler
from sparsednn.schedulers.replay import from_dict, replay, to_dict
from sparsednn.schedulers.sizing import Sizing
from tests.schedulers import PlainOutlook, Validated, decide, started
from tests.unit.test_threads import Recorder

N_WORKERS, N_LAYERS = 3, 4
OUTLOOK = PlainOutlook(9, shared=0.7)


def _started(name: str) -> Any:
    """A run of three workers in two domains, the second of two processes; three rows a worker, if they are cut."""
    scheduler = SCHEDULERS[name](SchedulerOptions(split_factor=2, recruiting_ratio=0.5))
    job = Job(N_WORKERS, scheduler.n_row_groups(N_WORKERS), N_LAYERS, (0, 0, 1), process=1, n_processes=2, outlook=OUTLOOK)
    return started(scheduler, job)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_part_of_the_state_is_declared_with_its_meaning(name: str) -> None:
    source = inspect.getsource(SCHEDULERS[name])
    declared = re.findall(r"^    #: .*\n(?:    #: .*\n)*    (\w+): ", source, re.MULTILINE)
    assert sorted(declared) == sorted(vars(_started(name)).keys() - {"options"})


def _enlisted(change: Callable[[DataThenModelScheduler], object]) -> Callable[[DataThenModelScheduler], None]:
    """Change the state after the first worker is through: it is idle, and the second one, of its domain, is called."""

    def after(scheduler: DataThenModelScheduler) -> None:
        decide(scheduler, Finished(0, 0))
        assert (scheduler.idle, scheduler.called) == ({0: [0], 1: []}, {1})
        change(scheduler)

    return after


def _cut(change: Callable[[Any], object]) -> Callable[[Any], None]:
    """Change the state when two of three workers have started, and the first one is idle again: a row group is left."""

    def after(scheduler: Any) -> None:
        for event in (Started(0), Started(1), Started(2), Finished(0, 0, 4.0, 3)):
            decide(scheduler, event)
        assert (scheduler.idle, sorted(scheduler.teams), scheduler.next_row) == ([0], [1, 2], 9)
        change(scheduler)

    return after


def _put(name: str, value: Any) -> Callable[[Scheduler], None]:
    return lambda scheduler: setattr(scheduler, name, value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        pytest.param("model", _put("n_workers", 0), "n_workers: a team has at least one", id="model, nobody"),
        pytest.param("model", _put("ready", {0, 3}), "ready: only workers of the job", id="model, a stranger"),
        pytest.param("manager_worker", _put("queue", deque([5, 4])), "queue: it holds the last", id="queue, order"),
        pytest.param("manager_worker", _put("queue", deque([4])), "queue: it holds the last", id="queue, a row group is lost"),
        pytest.param("manager_worker", _put("queue", deque([5, 5])), "queue: it holds the last", id="queue, one twice"),
        pytest.param("manager_worker", _put("n_in_all", 5), "queue: it holds the last", id="queue, not in the job"),
        pytest.param("work_stealing", _put("bounds", [0, 4, 2, 6]), "bounds: they ascend", id="bounds"),
        pytest.param("work_stealing", _put("queues", [deque()] * 2), "queues: each worker has one", id="a queue is missing"),
        pytest.param(
            "work_stealing", lambda s: s.queues[0].append(2), "queues: each holds the last", id="a row group of the next worker"
        ),
        pytest.param("work_stealing", lambda s: s.queues[1].pop(), "queues: each holds the last", id="a tail is taken"),
        pytest.param("global_work_stealing", _put("ring", (1, 1)), "ring: it has every process", id="ring"),
        pytest.param("global_work_stealing", _put("processes", [0, 1]), "processes: they are some", id="processes, order"),
        pytest.param("global_work_stealing", _put("processes", [1, 1]), "processes: they are some", id="processes, one twice"),
        pytest.param("global_work_stealing", _put("processes", [2]), "processes: they are some", id="processes, a stranger"),
        pytest.param("data_then_model", _put("domain_sizes", {0: 3}), "domain_sizes: as many", id="domain sizes"),
        pytest.param(
            "data_then_model", lambda s: s.teams.update({1: (2, 1)}), "teams: the leader is the first", id="leader behind"
        ),
        pytest.param("data_then_model", lambda s: s.teams.update({1: ()}), "teams: the leader is the first", id="empty team"),
        pytest.param("data_then_model", lambda s: s.teams.pop(1), "teams, idle: each worker", id="a worker is lost"),
        pytest.param("data_then_model", lambda s: s.teams.update({1: (1, 2)}), "teams, idle: each worker", id="in two teams"),
        pytest.param("data_then_model", lambda s: s.idle[0].append(1), "teams, idle: each worker", id="in a team and idle"),
        pytest.param("data_then_model", lambda s: s.idle.pop(1), "idle: each domain has a queue", id="no queue"),
        pytest.param(
            "data_then_model", _enlisted(lambda s: s.idle.update({0: [], 1: [0]})), "idle: each worker is in the queue",
            id="in another domain's queue",
        ),
        pytest.param("data_then_model", _enlisted(lambda s: s.called.clear()), "called: all and only", id="not called"),
        pytest.param("data_then_model", _enlisted(lambda s: s.called.add(2)), "called: all and only", id="called in vain"),
        pytest.param("data_then_model", _put("asks_from", [2, 2]), "asks_from: each worker", id="no layer to ask from"),
        pytest.param("data_then_model", _put("asks_from", [2, 1, 2]), "asks_from: nobody asks before", id="asks too early"),
        pytest.param("data_then_model", _put("from_layer", 3), "asks_from: nobody asks before", id="recruits too early"),
        pytest.param(
            "data_then_model", _enlisted(lambda s: s.asks_from.__setitem__(0, 3)), "asks_from: who is idle", id="idle, waits"
        ),
        pytest.param("data_then_model", _put("patience", -1), "patience: a number of layers", id="patience"),
        pytest.param(
            "adaptive", _cut(lambda s: setattr(s.teams[1], "members", (2, 1))), "teams: the leader is the first",
            id="cutting, leader behind",
        ),
        pytest.param("adaptive", _cut(lambda s: s.idle.clear()), "teams, idle, stopped: each", id="cutting, a worker is lost"),
        pytest.param("adaptive", _cut(lambda s: s.stopped.add(0)), "teams, idle, stopped: each", id="idle and stopped"),
        pytest.param(
            "adaptive", _cut(lambda s: (s.idle.append(3), s.started.add(3))), "started: only workers", id="cutting, a stranger"
        ),
        pytest.param("adaptive", _cut(lambda s: setattr(s, "domains", (0,))), "domains: each worker", id="a domain is missing"),
        pytest.param("adaptive", _cut(lambda s: setattr(s, "next_row", 10)), "next_row: the rows that are", id="too many rows"),
        pytest.param("adaptive", _cut(lambda s: setattr(s, "next_group", 0)), "next_group: there are", id="no row groups"),
        pytest.param(
            "adaptive", _cut(lambda s: setattr(s.teams[1], "row_group", 2)), "teams: each has a row group of its own",
            id="two teams for a row group",
        ),
        pytest.param(
            "adaptive", _cut(lambda s: setattr(s.teams[1], "row_group", 3)), "teams: they run row groups that have been cut",
            id="a row group that is not cut",
        ),
        pytest.param("adaptive", _cut(lambda s: setattr(s.teams[1], "n_rows", 0)), "teams: no row group is", id="no rows"),
        pytest.param("adaptive", _cut(lambda s: setattr(s.teams[1], "called", False)), "called: all and only", id="uncalled"),
        pytest.param(
            "adaptive", _cut(lambda s: (s.idle.clear(), s.stopped.add(0))), "called: all and only teams that somebody idle",
            id="called for nobody",
        ),
        pytest.param(
            "adaptive",
            _cut(lambda s: (s.idle.clear(), s.stopped.add(0), *(setattr(t, "called", False) for t in s.teams.values()))),
            "stopped: nobody, while", id="stopped too early",
        ),
        pytest.param(
            "adaptive", _put("sizing", Sizing(1.0, 4, 3, helps=True)), "sizing: a team has from", id="too large a team"
        ),
        pytest.param("adaptive", lambda s: s.sizes.tried.clear(), "sizes: what is used or measured", id="a size not tried"),
        pytest.param("adaptive", lambda s: s.sizes.note(1, 1.0, 1), "sizes: what is used or", id="measured, not tried"),
    ],
)  # fmt: skip
def test_a_broken_invariant_is_named(name: str, change: Callable[[Any], object], message: str) -> None:
    scheduler = _started(name)
    change(scheduler)
    with pytest.raises(AssertionError, match=message):
        scheduler.validate()


EVENTS: list[Event] = [
    Started(0),
    Finished(1, 1),
    Finished(1, 1, 0.25, 70),
    Boundary(0, 0, (3, 4, 2), 100),
    Taken(1, 0, None),
    Taken(1, 0, 3),
]


@pytest.mark.parametrize("event", EVENTS)
def test_events_go_through_json(event: Event) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(event)))) == event


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(KeyError, match="Stopped"):
        from_dict({"event": "Stopped", "worker": 0})
    with pytest.raises(TypeError, match="team"):
        from_dict({"event": "Started", "worker": 0, "team": 1})


class _Slow(Recorder):
    """Row groups of which later ones take longer, so that workers are recruited."""

    def layer(self, row_group: int, leader: int) -> None:
        time.sleep(0.001 * row_group)


def test_the_events_of_a_run_can_be_replayed() -> None:
    """Whatever order real threads came in: from the same events follow the same actions."""
    scheduler, job = Validated(DataThenModelScheduler(SchedulerOptions(minimum_work=0))), Job(4, 4, 5)
    ThreadExecutor(4).run(scheduler, job, _Slow(n_layers=5))
    written = json.dumps([to_dict(event) for event in scheduler.events])
    again = DataThenModelScheduler(SchedulerOptions(minimum_work=0))
    assert replay(again, job, map(from_dict, json.loads(written))) == scheduler.decisions


@pytest.mark.parametrize(("broken_by", "n_decisions"), [("start", 0), ("on_event", 1)])
def test_a_replay_checks_the_state_at_the_start_and_after_every_event(broken_by: str, n_decisions: int) -> None:
    class Broken(DataThenModelScheduler):
        def start(self, job: Job) -> None:
            super().start(job)
            if broken_by == "start":
                self.asks_from.pop()

        def on_event(self, event: Event) -> list[Any]:
            decided.append(event)
            self.asks_from.pop()
            return super().on_event(event)

    decided: list[Event] = []
    with pytest.raises(AssertionError, match="asks_from: each worker has a layer"):
        replay(Broken(), Job(2, 2, N_LAYERS), [Started(0), Started(1)])
    assert len(decided) == n_decisions
