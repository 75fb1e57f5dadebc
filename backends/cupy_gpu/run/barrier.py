"""Lets the members of a team meet: Python threads, each of which feeds its own stream."""

from __future__ import annotations

import threading
from time import perf_counter_ns
from typing import Any

from sparsednn.backend import Control, Team

LOOK_S = 0.02
"""How often a member that waits looks whether everything is to stop."""


class Meeting:
    """The meeting point of one team, layer after layer."""

    def __init__(self, team: Team, control: Control) -> None:
        self.team = team
        self.step: Any = None
        self.device_team: Any = None
        self._control = control
        self._changed = threading.Condition()
        self._n_there = 0
        self._round = 0

    def meet(self, member: int) -> bool:
        """Wait for all; False if everything is to stop."""
        if len(self.team.workers) == 1:
            return True
        came_at = perf_counter_ns()
        with self._changed:
            mine = self._round
            self._n_there += 1
            if self._n_there == len(self.team.workers):
                self._n_there, self._round = 0, mine + 1
                self._changed.notify_all()
            while self._round == mine and not self._control.stop_requested():
                self._changed.wait(LOOK_S)
            met = self._round > mine
        self.team.wait(member, came_at, perf_counter_ns())
        return met
