"""Schedulers in virtual time: small runs worked out by hand, and what must hold for all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsednn.execution.base import Timeline
from sparsednn.results.trace import Trace
from sparsednn.schedulers import (
    ONE_PROCESS_SCHEDULERS,
    SCHEDULERS,
    STRATEGIES,
    Action,
    Boundary,
    Event,
    Job,
    SchedulerOptions,
)
from sparsednn.schedulers.data_then_model import DataThenModelScheduler
from sparsednn.simulator.executor import SimulatedExecutor
from sparsednn.simulator.work import GroupCosts, Overheads
from tests.schedulers import Validated

ANY_WORK = SchedulerOptions(split_factor=2, recruiting_ratio=0, minimum_work=0)


STEP_WORK = 1000
"""Multiply-adds that a boundary expects for each second, so that a layer of a fraction of one is worth sharing."""


def costs(layers: list[float], **changes: object) -> GroupCosts:
    """A row group with so many seconds in each layer, one multiply-add a second (expected: many), and columns for everybody."""
    seconds = np.array(layers, float)
    values = {
        "open_s": 0.0,
        "close_s": 0.0,
        "alone_s": seconds,
        "serial_share": 0.0,
        "columns": np.full(len(layers), 5040),  # divisible by every team's size up to 10
        "meetings": np.ones(len(layers)),
        "multiply_adds": seconds,
        "step_work": STEP_WORK * seconds,
    }
    return GroupCosts(**{**values, **changes})  # type: ignore[arg-type]


def simulate(
    name: str,
    groups: list[GroupCosts],
    n_workers: int,
    options: SchedulerOptions = ANY_WORK,
    n_domains: int = 1,
    **changes: object,
) -> Timeline:
    """Run a scheduler, and check what must hold for every run."""
    executor = SimulatedExecutor(n_workers, trace=True, **changes)  # type: ignore[arg-type]
    scheduler = Validated(SCHEDULERS[name](options))
    domains = tuple(worker * n_domains // n_workers for worker in range(n_workers))
    timeline = executor.run(scheduler, Job(n_workers, len(groups), len(groups[0].alone_s), domains), groups)
    Trace(timeline.spans, {"scheduler": name, "kernel": "none", "simulated": True}).validate()
    assert sum(times.row_groups for times in timeline.times) == len(groups)
    done = sum(times.multiply_adds for times in timeline.times)
    assert done == sum(round(float(group.multiply_adds.sum())) for group in groups)
    for times in timeline.times:
        parts = times.busy_s + times.locking_s + times.wait_s + times.idle_s
        assert parts == pytest.approx(timeline.elapsed_s, abs=1e-9)
    return timeline


def busy(timeline: Timeline) -> list[float]:
    return [times.busy_s for times in timeline.times]


def overheads(decision_s: float = 0, wake_s: float = 0, start_s: float = 0, barrier_s: float = 0) -> Overheads:
    return Overheads(decision_s, wake_s, start_s, np.full(29, barrier_s))


@pytest.mark.parametrize(
    ("name", "groups", "changes", "elapsed_s"),
    [
        pytest.param("data", [[2, 3], [1, 1]], {}, 5, id="data: as long as the longest"),
        pytest.param("data", [[2, 3], [1, 1]], {"speeds": [1, 0.25]}, 8, id="data: a slow core makes its group the longest"),
        pytest.param("data", [[2, 3], [1, 1]], {"slowdown": [1, 1, 2]}, 7, id="data: two work at half speed"),
        pytest.param("data", [[2], [2]], {"overheads": overheads(start_s=1)}, 4, id="data: threads start in turn"),
        pytest.param("data", [[2], [2]], {"overheads": overheads(decision_s=0.25)}, 2.75, id="data: one decision at a time"),
        pytest.param("model", [[2, 4]], {}, 3, id="model: half of every layer each"),
        pytest.param("model", [[2, 4]], {"overheads": overheads(barrier_s=0.5)}, 4, id="model: a meeting in each layer"),
        pytest.param("model", [[2, 4]], {"overheads": overheads(wake_s=0.5)}, 4.5, id="model: three to be woken in turn"),
        pytest.param("model", [[2, 4]], {"speeds": [1, 0.5]}, 6, id="model: a team is as slow as its slowest member"),
        pytest.param("data_then_model", [[4] * 4, [0] * 4], {}, 10, id="after its first layer the busy one shares the rest"),
        pytest.param("data_then_model", [[4, 4], [6, 6]], {}, 12, id="the last layer has no boundary to recruit at"),
        pytest.param("manager_worker", [[8], [1], [1], [1]], {}, 8, id="manager: one takes the rest"),
        pytest.param("manager_worker", [[1], [1], [1], [8]], {}, 9, id="manager: the large one comes last"),
        pytest.param("work_stealing", [[8], [8], [1], [1]], {}, 10, id="stealing: own queue first, then the other's"),
    ],
)  # fmt: skip
def test_by_hand(name: str, groups: list[list[float]], changes: dict[str, object], elapsed_s: float) -> None:
    timeline = simulate(name, [costs(layers) for layers in groups], 2, **changes)
    assert timeline.elapsed_s == pytest.approx(elapsed_s)


def test_where_the_time_of_a_recruited_worker_goes() -> None:
    """It runs for 1 s, sleeps until the other stands at its layer boundary, and is woken; then two layers take 2 s each."""
    groups = [costs([4, 4, 4]), costs([1, 0, 0])]
    timeline = simulate("data_then_model", groups, 2, overheads=overheads(wake_s=0.5, barrier_s=0.25))
    first, second = timeline.times
    assert (first.busy_s, second.busy_s) == pytest.approx((4 + 4, 1 + 4))
    assert (first.wait_s, second.wait_s) == pytest.approx((0, 3.5))
    assert (first.meet_s, second.meet_s) == pytest.approx((0.5 + 2 * 0.25, 2 * 0.25))
    assert timeline.elapsed_s == pytest.approx(4 + 0.5 + 4 + 2 * 0.25 + 0.5)
    kinds = [[(span.kind, span.first_layer, span.last_layer) for span in timeline.spans if span.worker == w] for w in (0, 1)]
    assert kinds[0] == [("data", 0, 1), ("team", 1, 3), ("barrier", -1, -1), ("barrier", -1, -1), ("idle", -1, -1)]
    assert kinds[1] == [
        ("data", 0, 3), ("wait", -1, -1), ("team", 1, 3), ("barrier", -1, -1), ("idle", -1, -1)
    ]  # fmt: skip
    assert second.row_groups == 1


def test_who_waits_for_the_lock() -> None:
    timeline = simulate("data", [costs([2])] * 3, 3, overheads=overheads(decision_s=1))
    assert [times.lock_s for times in timeline.times] == pytest.approx([0, 1, 2])  # as they start; they end one by one
    assert [times.enlist_s for times in timeline.times] == pytest.approx([2, 2, 2])
    assert timeline.elapsed_s == 6


def test_layers_before_the_recruiting_ratio_are_not_shared() -> None:
    groups = [costs([2] * 10), costs([0] * 10)]
    options = SchedulerOptions(recruiting_ratio=0.5, minimum_work=0)
    assert simulate("data_then_model", groups, 2, options).elapsed_s == pytest.approx(5 * 2 + 5 * 1)


def test_a_layer_too_small_for_two_is_not_shared() -> None:
    groups = [costs([2] * 10), costs([0] * 10)]
    options = SchedulerOptions(recruiting_ratio=0, minimum_work=2 * STEP_WORK)
    assert simulate("data_then_model", groups, 2, options).elapsed_s == pytest.approx(20)


def test_a_team_grows_at_later_boundaries() -> None:
    """Layers of 6 s: one alone, then two, then, once the third has ended at 8 s, all three."""
    groups = [costs([6] * 4), costs([1, 0, 0, 0]), costs([8, 0, 0, 0])]
    timeline = simulate("data_then_model", groups, 3)
    assert timeline.elapsed_s == pytest.approx(6 + 3 + 2 + 2)
    assert timeline.times[0].recruit_s == 0
    teams = [(span.first_layer, span.last_layer) for span in timeline.spans if span.kind == "team" and span.worker == 0]
    assert teams == [(1, 2), (2, 4)]


@pytest.mark.parametrize(
    ("columns", "serial_share", "elapsed_s"),
    [
        pytest.param(4, 0.0, 1.5, id="4 columns for 3: one has 2 of them"),
        pytest.param(1, 0.0, 3.0, id="a single column cannot be shared"),
        pytest.param(5040, 0.5, 2.0, id="half of it is the leader's"),
    ],
)
def test_what_a_team_cannot_split(columns: int, serial_share: float, elapsed_s: float) -> None:
    group = costs([3.0], columns=np.array([columns]), serial_share=serial_share)
    assert simulate("model", [group], 3).elapsed_s == pytest.approx(elapsed_s)


def test_opening_and_closing_a_row_group_take_time_once() -> None:
    groups = [costs([4, 4], open_s=1.0, close_s=2.0), costs([0, 0])]
    assert simulate("data_then_model", groups, 2).elapsed_s == pytest.approx(1 + 4 + 2 + 2)


@pytest.mark.parametrize("name", ["data_then_model", "manager_worker", "work_stealing"])
def test_a_slow_core_is_healed(name: str) -> None:
    n_groups = 4 if name == "data_then_model" else 4 * 8
    layers = [[1.0 / n_groups] * 100] * n_groups
    speeds = [1, 1, 1, 0.25]
    options = SchedulerOptions(split_factor=8, recruiting_ratio=0, minimum_work=0)
    alone = simulate("data", [costs([0.25 / 1] * 100)] * 4, 4, speeds=speeds).elapsed_s
    healed = simulate(name, [costs(group) for group in layers], 4, options, speeds=speeds).elapsed_s
    assert alone == pytest.approx(100)
    assert healed < alone / 2


def random_costs(seed: int, n_groups: int, n_layers: int) -> list[GroupCosts]:
    rng = np.random.default_rng(seed)
    return [costs((rng.random(n_layers) * rng.choice([0, 1, 20], n_layers)).tolist()) for _ in range(n_groups)]


@given(
    name=st.sampled_from([name for name in ONE_PROCESS_SCHEDULERS if not SCHEDULERS[name].cuts]),
    strategy=st.sampled_from(STRATEGIES),
    seed=st.integers(0, 2**32 - 1),
    n_workers=st.integers(1, 6),
    n_domains=st.integers(1, 3),
    n_layers=st.integers(1, 12),
    ratio=st.sampled_from([0.0, 0.3, 1.0]),
    cost_s=st.sampled_from([0.0, 0.001, 0.3]),
)
def test_every_scheduler_finishes_every_group_within_bounds(
    name: str, strategy: str, seed: int, n_workers: int, n_domains: int, n_layers: int, ratio: float, cost_s: float
) -> None:
    options = SchedulerOptions(3, strategy, ratio, threshold=1, minimum_work=0)
    n_groups = SCHEDULERS[name](options).n_row_groups(n_workers)
    groups = random_costs(seed, n_groups, n_layers)
    times = overheads(cost_s, cost_s, cost_s, cost_s)
    timeline = simulate(name, groups, n_workers, options, n_domains, overheads=times)
    total_s = sum(float(group.alone_s.sum()) for group in groups)
    assert timeline.elapsed_s >= total_s / n_workers - 1e-9
    if cost_s == 0:
        assert timeline.elapsed_s <= total_s + 1e-9
        if name in ("data", "manager_worker", "work_stealing"):
            assert timeline.elapsed_s >= max(float(group.alone_s.sum()) for group in groups) - 1e-9
        if name == "model":
            assert timeline.elapsed_s == pytest.approx(total_s / n_workers)
        assert math.fsum(busy(timeline)) == pytest.approx(total_s)
    again = simulate(name, groups, n_workers, options, n_domains, overheads=times)
    assert again == timeline


class Watched(DataThenModelScheduler):
    """Keeps the scores that it is told."""

    def start(self, job: Job) -> None:
        super().start(job)
        self.seen: list[tuple[int, tuple[int, ...]]] = []

    def on_event(self, event: Event) -> list[Action]:
        if isinstance(event, Boundary):
            self.seen.append((event.worker, event.scores))
        return super().on_event(event)


def test_scores_are_those_at_the_boundary_also_of_a_worker_that_stands_at_its_own() -> None:
    """Decisions take 2 s. The first worker stands at 10 s behind its second layer; it is not the slower one. The second comes
    to its own second boundary at 10.8 s, while the first still has the lock."""
    scheduler = Watched(SchedulerOptions(strategy="slower_first", threshold=0, recruiting_ratio=0, minimum_work=0))
    groups = [costs([4] * 4), costs([3.4] * 4), costs([1, 0, 0, 0])]
    timeline = SimulatedExecutor(3, overheads(decision_s=2)).run(scheduler, Job(3, 3, 4), groups)
    assert scheduler.seen[:2] == [(0, (2, 1, 4)), (1, (2, 2, 4))]
    assert timeline.times[1].recruit_s == 2


def test_sixteen_nodes_of_28_cores_take_seconds_to_simulate() -> None:
    """The largest network of the challenge, with a probe at every layer boundary."""
    rng = np.random.default_rng(0)
    groups = [costs((rng.random(1920) * scale).tolist()) for scale in np.linspace(1, 2, 28)]
    options = SchedulerOptions(strategy="slower_first", threshold=0, minimum_work=0)
    executor = SimulatedExecutor(28, overheads(1e-5, 1e-5, 1e-5, 1e-5))
    timeline = executor.run(SCHEDULERS["data_then_model"](options), Job(28, 28, 1920), groups)
    assert timeline.elapsed_s < 1920 * 1.05
