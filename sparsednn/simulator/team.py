"""Simulates the team of one row group, from the moment when it is called together until it leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsednn.execution.worker_log import Stretch
from sparsednn.simulator.clock import VirtualTime
from sparsednn.simulator.work import Floats, GroupCosts


class VirtualTeam:
    """A team of one or more; the first one leads.

    Attributes
    ----------
    row_group : int
    members : tuple of int
    joined_s : dict
        When each member came.
    running : bool
    exit_layer : int
        Where it will leave, as things are.
    n_plans : int
        How often that was planned: only the last plan counts.
    """

    def __init__(self, row_group: int, members: tuple[int, ...]) -> None:
        self.row_group = row_group
        self.members = members
        self.joined_s: dict[int, float] = {}
        self.running = False
        self.exit_layer = 0
        self.n_plans = 0
        self._first = 0

    def begin(self, costs: GroupCosts, layer: int, speeds: Sequence[float], barrier_s: float, time: VirtualTime) -> None:
        """Start from `layer` on; all times to come are settled here."""
        self.running, self._first, self._began_s = True, layer, time.now_s
        self._costs, self._speeds = costs, speeds
        open_s = costs.open_s / speeds[0] if layer == 0 else 0.0
        seconds = costs.team_s(speeds, barrier_s)[layer:]
        self._ends_s: Floats = time.work_s + open_s + np.concatenate([[0.0], np.cumsum(seconds)])
        self._began_work_s = time.work_s

    def plan_exit(self, from_layer: int | None, work_s: float) -> float:
        """Settle where the team leaves if nothing else happens: at its next layer boundary from `from_layer` on, or at the end.

        Returns when, by the clock of work. A team does at least one layer before it leaves.
        """
        n_layers = self._first + len(self._ends_s) - 1
        self.n_plans += 1
        self.exit_layer = n_layers
        if from_layer is not None:
            reached = self._first + int(np.searchsorted(self._ends_s, work_s, side="left"))
            self.exit_layer = min(max(from_layer, reached, self._first + 1), n_layers)
        close_s = self._costs.close_s / self._speeds[0] if self.exit_layer == n_layers else 0.0
        self._exit_work_s = float(self._ends_s[self.exit_layer - self._first]) + close_s
        return self._exit_work_s

    def layer_at(self, work_s: float) -> int:
        """Return how many layers of the row group are finished, while it is running."""
        return self._first + max(int(np.searchsorted(self._ends_s, work_s, side="right")) - 1, 0)

    def end(self, now_s: float) -> list[Stretch]:
        """The team leaves; return what each member has done. Its waits for others are added up, and shown at its end."""
        self.running = False
        layers, n = slice(self._first, self.exit_layer), len(self.members)
        spent_s, work_s = now_s - self._began_s, self._exit_work_s - self._began_work_s
        multiply_adds = self._multiply_adds(self.exit_layer) - self._multiply_adds(self._first)
        stretches = []
        for position, member in enumerate(self.members):
            own_s = self._costs.member_s(self._speeds, position, layers)
            busy_s = spent_s if n == 1 or work_s <= 0 else spent_s * min(own_s / work_s, 1.0)
            done = multiply_adds * (position + 1) // n - multiply_adds * position // n
            joined_s, waited_s = self.joined_s[member], spent_s - busy_s
            stretches.append(
                Stretch(
                    n, self.row_group, self._first, self.exit_layer, done, joined_s, now_s,
                    busy_s=now_s - self._began_s - waited_s,
                    meet_s=self._began_s - joined_s + waited_s,
                    waits=((joined_s, self._began_s), (now_s - waited_s, now_s)),
                )
            )  # fmt: skip
        return stretches

    def _multiply_adds(self, layer: int) -> int:
        """Return the multiply-adds of all layers before `layer`; rounded here, so that no part of a row group is lost."""
        return round(float(self._costs.multiply_adds[:layer].sum()))
