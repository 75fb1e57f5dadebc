"""Chooses how many workers share a row group, and how many rows it has, by an outlook and by what has been measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sparsednn.schedulers.outlook import Outlook

SMALLEST_GAIN = 0.15
"""A team of two must save this share of the time of one worker, or there are no teams."""

LARGER_TEAM = 0.03
"""A larger team, or more rounds, must be expected to save this share of the time."""

FEWER_WORKERS = 0.03
"""Fewer workers than there may be must be expected to save this share of the time."""

FASTER_SIZE = 0.02
"""Another size of row groups must have been measured to save this share of the time."""

ON_TRIAL = 1 / 12
"""At most this share of the rows is used to try another size."""

MORE_ROUNDS = (1, 2, 4, 8, 16)
"""How many times the rounds in which walking takes its share are considered, and what part of them."""


class Sizing(NamedTuple):
    """The sizes of teams and row groups that are expected to be the fastest.

    Attributes
    ----------
    seconds : float
        Expected until the last row is through.
    team_size : int
        Workers that share a row group from its first layer on.
    group_rows : int
        Rows of a row group.
    helps : bool
        Whether a team is faster than one worker, so that those who are through are of use to the others.
    """

    seconds: float
    team_size: int
    group_rows: int
    helps: bool


def best_sizing(outlook: Outlook, n_workers: int, walk_share: float) -> Sizing:
    """Return the sizes that are expected to be the fastest; the smallest teams, if there is little between them.

    Row groups go in rounds, one for each team. A network is walked through once for each row group, so that they are not chosen
    smaller than one in which walking takes `walk_share` of the time, unless that brings balance: with more teams than one, the
    last round is expected to be late by the spread of its row groups. They are chosen larger if that saves more than this
    share, which is so where many rows walk through more of the network than one row does.
    """
    n_rows = outlook.n_rows
    if n_rows == 0:
        return Sizing(0.0, 1, 1, helps=False)
    share = max(n_rows // n_workers, 1)
    helps = n_workers > 1 and outlook.team_s(share, 2) < (1 - SMALLEST_GAIN) * outlook.team_s(share, 1)
    walks_at_ease = max(outlook.team_s(1, 1) / max(outlook.row_s(), 1e-12), 1.0) / walk_share
    large = max(math.ceil(walks_at_ease), outlook.block_rows)
    best: Sizing | None = None
    for team_size in sorted({n_workers, *_powers(n_workers)}) if helps else [1]:
        n_teams = n_workers // team_size
        at_ease = max(n_rows // (n_teams * large), 1)
        for n_rounds, gain in _rounds(at_ease, walk_share):
            rows = -(-n_rows // (n_teams * n_rounds))
            tail_s = _tail_s(outlook, rows, n_teams, team_size, n_workers if helps else 1)
            seconds = (n_rounds * outlook.team_s(rows, team_size) + tail_s) * outlook.slowdown(n_workers)
            if best is None or seconds < best.seconds * (1 - gain):
                best = Sizing(seconds, team_size, rows, helps)
    assert best is not None  # a team of one worker is among them
    return best


def _rounds(at_ease: int, walk_share: float) -> Iterator[tuple[int, float]]:
    """Numbers of rounds to consider, each with the share of the time that it must save."""
    yield from ((at_ease * more, LARGER_TEAM) for more in MORE_ROUNDS)
    yield from ((at_ease // fewer, max(LARGER_TEAM, walk_share)) for fewer in MORE_ROUNDS[1:] if at_ease >= fewer)


def _tail_s(outlook: Outlook, n_rows: int, n_teams: int, team_size: int, n_helpers: int) -> float:
    """Expect how much later the last of several teams is through, with the help of `n_helpers` if there are any."""
    if n_teams == 1:
        return 0.0
    latest_s = outlook.deviation_s(n_rows) * math.sqrt(2 * math.log(n_teams)) / team_size
    if n_helpers > 1:  # of what is late, that remains which a team of all cannot share
        latest_s *= outlook.team_s(n_rows, n_helpers) * n_helpers / outlook.team_s(n_rows, 1) - 1
    return max(latest_s, 0.0)


def best_workers(outlook: Outlook, n_workers: int, walk_share: float) -> int:
    """Return how many workers, of `n_workers` at the most, are expected to be the fastest, the time to start them included."""

    def seconds(n: int) -> float:
        started_s = n * outlook.start_s
        expected_s = max(started_s, best_sizing(outlook, n, walk_share).seconds + (n + 1) / 2 * outlook.start_s)
        return expected_s * (1 if n == n_workers else 1 + FEWER_WORKERS)

    return min(sorted({n_workers, *_powers(n_workers)}, reverse=True), key=seconds)


def _powers(n: int) -> Iterator[int]:
    """1, 2, 4, ... up to n."""
    return (2**k for k in range(n.bit_length()))


@dataclass
class GroupSizes:
    """How many rows the next row groups have: rounds of equal ones, one for each team.

    Where there are many rounds, half and double the size in use are tried once each, and the size that took the least time a
    multiply-add goes on. What is rounded is the number of rounds that are left, so that no small row group is left over.

    Attributes
    ----------
    n_rows, n_teams, group_rows : int
        Of the process; of the sizing. The same during a run.
    halvings : int
        The size in use: row groups have ``group_rows / 2**halvings`` rows.
    tried : set of int
        All and only sizes that have been in a round.
    costs : dict of (float, int)
        For each size that has been measured, the sum of seconds a multiply-add over its row groups, and their number.
    round : list of (int, int)
        Row groups that the round still has to give: rows, and which size that is.
    """

    n_rows: int
    n_teams: int
    group_rows: int
    halvings: int = 0
    tried: set[int] = field(default_factory=lambda: {0})
    costs: dict[int, tuple[float, int]] = field(default_factory=dict)
    round: list[tuple[int, int]] = field(default_factory=list)

    def note(self, halvings: int, seconds: float, multiply_adds: int) -> None:
        """Note what a row group of a size has taken."""
        if multiply_adds > 0:
            sum_s, n = self.costs.get(halvings, (0.0, 0))
            self.costs[halvings] = sum_s + seconds / multiply_adds, n + 1

    def take(self, n_left: int) -> tuple[int, int]:
        """Return the rows of the next row group, at most `n_left`, and which size that is."""
        if not self.round:
            self._begin_round(n_left)
        rows, halvings = self.round.pop()
        return min(rows, n_left), halvings

    def rows_of(self, halvings: int) -> int:
        """Return how many rows a row group of a size has."""
        return max(math.ceil(self.group_rows * 2.0**-halvings), 1)

    def _begin_round(self, n_left: int) -> None:
        """Settle the row groups of a round: the fastest size, or for half of the teams one that is to be tried."""
        if self.halvings in self.costs:
            self.halvings = min(self.costs, key=self._cost)
        n_rounds = max(round(n_left / (self.n_teams * self.rows_of(self.halvings))), 1)
        rows = -(-n_left // (self.n_teams * n_rounds))
        self.round = [(rows, self.halvings)] * self.n_teams
        n_trials = -(-self.n_teams // 2)
        for other in (self.halvings + 1, self.halvings - 1):
            at_stake = n_trials * self.rows_of(other)
            if other not in self.tried and n_rounds > 1 and at_stake <= ON_TRIAL * self.n_rows:
                self.tried.add(other)
                self.round[:n_trials] = [(self.rows_of(other), other)] * n_trials
                break

    def _cost(self, halvings: int) -> float:
        """Seconds a multiply-add of a size; another than the one in use has to be clearly faster."""
        sum_s, n = self.costs[halvings]
        return sum_s / n * (1 if halvings == self.halvings else 1 + FASTER_SIZE)
