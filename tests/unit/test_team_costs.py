"""Costs of a layer for a team, and for no rows: shares, the leader's part, lines that other cores have written, walks."""

from __future__ import annotations

import numpy as np
import pytest

from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.work import GroupCosts
from tests.unit.calibrations import calibration, kind
from tests.unit.test_cost import SMALL, profile


def group(serial_share: float, team_factor: float, n_cores: int = 64) -> GroupCosts:
    one = np.ones(1)
    return GroupCosts(
        0.0, 0.0, 12.0 * one, serial_share, np.array([840]), 0 * one, one, one, team_factor=team_factor, n_cores=n_cores
    )


@pytest.mark.parametrize(
    ("n_members", "n_cores", "seconds"),
    [
        (1, 4, 12.0),  # alone: nothing is read from others
        (2, 4, 12.0),  # halves that take twice as long
        (4, 4, 12.0 / 4 * 2.5),  # three quarters are read from others
        (4, 2, 12.0 / 4 * 2.0),  # members that share a core share its cache
        (28, 28, 12.0 / 28 * (1 + 2 * 27 / 28)),
    ],
)
def test_work_that_is_split_takes_longer_the_more_was_written_elsewhere(n_members: int, n_cores: int, seconds: float) -> None:
    found = group(0.0, 2.0, n_cores)
    assert found.team_s([1.0] * n_members, 0.0).tolist() == pytest.approx([seconds])
    assert found.member_s([1.0] * n_members, 0, slice(0, 1)) == pytest.approx(seconds)


def test_the_leaders_part_is_not_slowed_down() -> None:
    found = group(0.25, 2.0)
    assert found.team_s([1.0, 1.0], 0.0).tolist() == pytest.approx([3.0 + 9.0])
    assert found.member_s([1.0, 1.0], 0, slice(0, 1)) - found.member_s([1.0, 1.0], 1, slice(0, 1)) == pytest.approx(3.0)


def test_team_parameters_may_depend_on_the_width() -> None:
    work = profile(SMALL, neurons=4).partition_work([np.arange(4)])
    table = calibration(team_factor={2: 1.0, 8: 3.0}, serial_share={2: 0.0, 8: 0.5})
    found = CostModel(table).costs(work, kind("csc_csc"), 2)[0]
    assert (found.team_factor, found.serial_share, found.n_cores) == (2.0, 0.25, 2)


@pytest.mark.parametrize(("rows", "walks"), [("none", True), ("prune", False)])
@pytest.mark.parametrize("group", [[], [1]])
def test_columns_are_walked_through_for_no_rows_too(rows: str, walks: bool, group: list[int]) -> None:
    """Unless the kernel leaves when all are dead. One second a connection: 8 of them in each layer."""
    model = CostModel(calibration(connection_s=1.0))
    for stay in (True, False):
        work = profile(SMALL, stay=stay).group_work(np.array(group, np.int64))
        (costs,) = model.costs([work], kind("csc_csc", rows=rows))
        first = 8.0 if walks or group or not stay else 0.0
        assert costs.alone_s.tolist() == [first, 8.0 if walks or not stay else 0.0]
