"""The scheduler that cuts row groups: events and actions by hand, and the sizes that it chooses."""

from __future__ import annotations

import math

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
    SchedulerOptions,
    Sleep,
    Started,
    Stop,
    Taken,
)
from sparsednn.schedulers.sizing import GroupSizes, best_sizing, best_workers
from tests.schedulers import PlainOutlook, decide, job_of, started

SHARES_BADLY = PlainOutlook(9, shared=0.7)
WALK_SHARE = 0.04


class Occupying(PlainOutlook):
    """The more rows there are, the more of the network they walk through: all of it from 100 rows on."""

    def _layers_s(self, n_rows: int, n_members: int) -> float:
        return min(n_rows, 100) * self.walk_s + n_rows


def run(steps: list[tuple[Event, list[Action]]], n_workers: int, outlook: PlainOutlook, domains: tuple[int, ...] = ()) -> None:
    """Give a scheduler one event after the other, and look at its actions and at its state."""
    scheduler = SCHEDULERS["adaptive"]()
    started(scheduler, job_of(scheduler, n_workers, 4, outlook, domains))
    for event, actions in steps:
        assert decide(scheduler, event) == actions, event


def test_who_is_through_helps_when_no_rows_are_left() -> None:
    run(
        [
            (Started(0), [Cut(0, 0, 3), Run(0, 0)]),
            (Started(1), [Cut(1, 3, 6), Run(1, 1)]),
            (Started(2), [Cut(2, 6, 9), Run(2, 2)]),
            (Taken(2, 0, None), []),
            (Finished(0, 0, 4.0, 3), [Sleep(0), Call(1, 0), Call(2, 0)]),
            (Boundary(1, 1, (4, 2, 1), 10), [FormTeam(1, (1, 0)), Dismiss(2)]),
            (Boundary(2, 2, (4, 2, 2), 10), [Run(2, 2)]),
            (Finished(1, 1, 4.0, 3), [Sleep(1), Sleep(0), Call(2, 2)]),
            (Boundary(2, 2, (4, 4, 3), 10), [FormTeam(2, (2, 1, 0))]),
            (Finished(2, 2, 6.0, 3), [Stop(2), Stop(1), Stop(0)]),
        ],
        3,
        SHARES_BADLY,
    )


def test_helpers_that_would_not_be_worth_it_are_not_called() -> None:
    """Of 4 s, half are left after two layers, of which a helper saves 0.7; asking takes 0.3 s, which is to be saved thrice."""
    dear = PlainOutlook(9, shared=0.7, wake_s=0.2, decision_s=0.1)
    run(
        [
            (Started(0), [Cut(0, 0, 3), Run(0, 0)]),
            (Started(1), [Cut(1, 3, 6), Run(1, 1)]),
            (Started(2), [Cut(2, 6, 9), Run(2, 2)]),
            (Finished(0, 0, 4.0, 3), [Sleep(0), Call(1, 0), Call(2, 0)]),
            (Boundary(1, 1, (4, 2, 1), 10), [Run(1, 1)]),
            (Boundary(2, 2, (4, 2, 1), 10), [FormTeam(2, (2, 0))]),
            (Finished(2, 2, 4.0, 3), [Sleep(2), Sleep(0), Call(1, 2)]),
            (Finished(1, 1, 4.0, 3), [Stop(2), Stop(0), Stop(1)]),
        ],
        3,
        dear,
    )


def test_a_team_waits_for_workers_with_whom_it_is_through_its_first_layer_sooner() -> None:
    """That of one row takes one worker a second, two half of it, and all three a third: 0.15 and 0.33 s are less."""
    run(
        [
            (Started(2), [Sleep(2)]),
            (Started(0), [Sleep(0)]),
            (Started(1), [Cut(0, 0, 1), FormTeam(0, (1, 2, 0))]),
            (Finished(0 + 1, 0, 0.7, 1), [Stop(1), Stop(2), Stop(0)]),
        ],
        3,
        PlainOutlook(1, start_s=0.15),
    )


def test_nobody_is_waited_for_while_a_leader_gets_a_row_group_ready() -> None:
    """That takes 2 s, in a team too; its first layer takes one worker 1 s, and two half of it, if the other is there."""
    run(
        [
            (Started(1), [Cut(0, 0, 1), Run(1, 0)]),
            (Started(0), [Sleep(0), Call(1, 0)]),
            (Boundary(1, 0, (0, 1), 10), [FormTeam(0, (1, 0))]),
            (Finished(1, 0, 3.5, 1), [Stop(1), Stop(0)]),
        ],
        2,
        PlainOutlook(1, start_s=0.6, open_s=2.0),
    )


def test_a_team_that_would_wait_long_begins_and_grows_by_doubling() -> None:
    run(
        [
            (Started(0), [Cut(0, 0, 1), Run(0, 0)]),
            (Started(1), [Sleep(1), Call(0, 0)]),
            (Boundary(0, 0, (1, 0, 0, 0), 10), [FormTeam(0, (0, 1))]),
            (Started(2), [Sleep(2)]),
            (Started(3), [Sleep(3), Call(0, 1)]),
            (Boundary(0, 0, (2, 0, 0, 0), 10), [FormTeam(0, (0, 1, 2, 3))]),
            (Finished(0, 0, 1.0, 1), [Stop(0), Stop(1), Stop(2), Stop(3)]),
        ],
        4,
        PlainOutlook(1, start_s=0.4),
    )


def test_who_starts_when_all_is_done_stops() -> None:
    run(
        [
            (Started(1), [Cut(0, 0, 1), Run(1, 0)]),
            (Finished(1, 0, 2.0, 1), [Stop(1)]),
            (Started(0), [Stop(0)]),
        ],
        2,
        PlainOutlook(1, start_s=9),
    )


def test_without_rows_everybody_stops() -> None:
    run([(Started(1), [Stop(1)]), (Started(0), [Stop(0)])], 2, PlainOutlook(0))


def test_helpers_are_of_the_leaders_domain_first() -> None:
    run(
        [
            *((Started(n), [Cut(n, 3 * n, 3 * n + 3), Run(n, n)]) for n in range(3)),
            (Started(3), [Cut(3, 9, 12), Run(3, 3)]),
            (Finished(0, 0, 4.0, 3), [Sleep(0), Call(1, 0), Call(2, 0), Call(3, 0)]),
            (Finished(2, 2, 4.0, 3), [Sleep(2)]),
            (Boundary(3, 3, (4, 1, 4, 1), 10), [FormTeam(3, (3, 2))]),
            (Boundary(1, 1, (4, 1, 4, 1), 10), [FormTeam(1, (1, 0))]),
            (Finished(3, 3, 4.0, 3), [Sleep(3), Sleep(2), Call(1, 1)]),
        ],
        4,
        PlainOutlook(12, shared=0.7),
        (0, 0, 1, 1),
    )


def test_a_job_without_an_outlook_is_refused() -> None:
    with pytest.raises(ValueError, match="adaptive: the job has no outlook"):
        SCHEDULERS["adaptive"]().start(Job(2, 0, 4))


def test_rows_that_all_can_share_are_one_row_group() -> None:
    """Then the network is walked through once."""
    sizing = best_sizing(PlainOutlook(1000, walk_s=100), 4, WALK_SHARE)
    assert sizing[:3] == (pytest.approx(1100 / 4), 4, 1000)


def test_rows_that_cannot_be_shared_are_not() -> None:
    sizing = best_sizing(PlainOutlook(1000, walk_s=100, shared=0), 4, WALK_SHARE)
    assert sizing == (pytest.approx(100 + 250), 1, 250, False)


@pytest.mark.parametrize("walk_share", [0.01, 0.04, 0.2])
def test_row_groups_are_as_large_as_the_walk_asks_for(walk_share: float) -> None:
    rows = best_sizing(PlainOutlook(100_000, walk_s=9, shared=0), 4, walk_share).group_rows
    assert walk_share / 2 < 10 / (10 + rows) < walk_share


def test_row_groups_are_smaller_where_they_differ() -> None:
    alike, different = (best_sizing(PlainOutlook(100_000, shared=0, deviation=d), 4, 0.001).group_rows for d in (0, 100))
    assert different < alike / 2


def test_row_groups_are_larger_where_many_rows_walk_more_than_one_does() -> None:
    """One row walks for 10 s, so that 275 rows would be enough: 36 rounds would walk for 36,000 s, two of 5,000 for 2,000."""
    assert best_sizing(PlainOutlook(10_000, walk_s=10, shared=0), 1, 0.04).group_rows == 278
    found = best_sizing(Occupying(10_000, walk_s=10), 1, 0.04)
    assert found.group_rows == 5_000
    assert found.seconds == 2 * 1_000 + 10_000


def test_blocks_are_not_torn_apart() -> None:
    assert best_sizing(PlainOutlook(4096, walk_s=0, shared=0, block_rows=128), 4, WALK_SHARE).group_rows == 128


@pytest.mark.parametrize(
    ("outlook", "n"),
    [
        pytest.param(PlainOutlook(1000), 4, id="enough to do"),
        pytest.param(PlainOutlook(1000, start_s=1e4), 1, id="done before the second has started"),
        pytest.param(PlainOutlook(1000, bus=1.2, start_s=1), 1, id="one worker takes all of the memory's bandwidth"),
        pytest.param(PlainOutlook(100, start_s=30), 2, id="the third and fourth cost more than they bring"),
        pytest.param(PlainOutlook(0, start_s=1), 1, id="nothing to do"),
    ],
)
def test_no_more_workers_are_started_than_bring_something(outlook: PlainOutlook, n: int) -> None:
    assert best_workers(outlook, 4, WALK_SHARE) == n
    scheduler = SCHEDULERS["adaptive"](SchedulerOptions(walk_share=WALK_SHARE))
    assert scheduler.n_wanted(job_of(scheduler, 4, 3, outlook)) == n


@given(
    n_rows=st.integers(0, 500),
    n_teams=st.integers(1, 6),
    group_rows=st.integers(1, 200),
    rates=st.dictionaries(st.integers(-1, 1), st.floats(0.1, 10), min_size=3),
)
def test_every_row_is_given_once_whatever_is_measured(
    n_rows: int, n_teams: int, group_rows: int, rates: dict[int, float]
) -> None:
    sizes, left, n_groups = GroupSizes(n_rows, n_teams, group_rows), n_rows, 0
    while left:
        rows, halvings = sizes.take(left)
        assert 1 <= rows <= left
        assert halvings in (-1, 0, 1)
        sizes.note(halvings, rates[halvings] * rows, rows)
        left, n_groups = left - rows, n_groups + 1
    assert n_groups <= 4 * n_teams + 4 * n_rows / group_rows


@pytest.mark.parametrize(("faster", "rows"), [(None, 10), (1, 5), (-1, 20)], ids=["none", "half", "double"])
def test_the_size_that_was_faster_goes_on(faster: int | None, rows: int) -> None:
    """Those next to the one in use are tried; of these, one is faster than all others."""
    sizes, left = GroupSizes(2000, 2, 10), 2000
    given_rows = []
    while left:
        n, halvings = sizes.take(left)
        sizes.note(halvings, (0.5 if halvings == faster else 1.0) * n, n)
        given_rows.append(n)
        left -= n
    assert {math.ceil(rows / 2), rows, 2 * rows} <= set(given_rows)
    assert sorted(given_rows)[len(given_rows) // 2] == rows
    assert given_rows[-1] >= rows / 2


def test_nothing_is_tried_where_there_are_few_rounds() -> None:
    sizes = GroupSizes(59, 2, 10)
    assert [sizes.take(59 - 10 * n)[0] for n in range(6)] == [10, 10, 10, 10, 10, 9]
