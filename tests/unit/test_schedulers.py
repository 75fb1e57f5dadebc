"""Schedulers as tables of events and actions."""

from __future__ import annotations

import pytest

from sparsednn.schedulers import SCHEDULERS, Action, Event, Finished, Job, Run, Started, Stop


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(Started(0), [Run(0, row_group=0)], id="the first worker runs the first row group from the first layer"),
        pytest.param(Started(2), [Run(2, row_group=2)], id="each worker has a row group of its own"),
        pytest.param(Finished(1, 1), [Stop(1)], id="a worker that has finished stops: nobody else is waited for"),
    ],
)
def test_data(event: Event, expected: list[Action]) -> None:
    scheduler = SCHEDULERS["data"]()
    scheduler.start(Job(n_workers=3, n_row_groups=3, n_layers=4))
    assert scheduler.on_event(event) == expected


def test_data_splits_into_one_row_group_a_worker() -> None:
    scheduler = SCHEDULERS["data"]()
    assert [scheduler.n_row_groups(n) for n in (1, 2, 28)] == [1, 2, 28]
    with pytest.raises(ValueError, match="3 row groups for 2 workers"):
        scheduler.start(Job(n_workers=2, n_row_groups=3, n_layers=4))
