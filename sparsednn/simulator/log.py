"""Where the time of one virtual worker goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsednn.results.trace import Span
from sparsednn.results.worker_times import WorkerTimes
from sparsednn.schedulers.base import Action, Boundary, Event, Team


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one member of a crew has done: layers ``first_layer .. last_layer`` of a row group.

    It came at `joined_s`; all were there at `began_s`; of the time from then to `stop_s`, `waited_s` went into waiting.
    """

    n_members: int
    row_group: int
    first_layer: int
    last_layer: int
    multiply_adds: int
    joined_s: float
    began_s: float
    stop_s: float
    waited_s: float


class VirtualLog:
    """The times of one worker, and its spans if they are asked for; the same kinds as those of real threads.

    Waits for other members of a team are added up over a stretch of layers and drawn as one barrier span at its end.
    """

    def __init__(self, process: int, worker: int, *, trace: bool) -> None:
        self.times = WorkerTimes(worker)
        self.spans: list[Span] = []
        self.asleep = False
        self._process = process
        self._trace = trace
        self._free_s = 0.0
        self._team_size = 1

    def woken(self, now_s: float, *, joins: bool) -> None:
        """An order is here: the worker was asleep, or stood at a layer boundary with its team."""
        if not self.asleep and not joins:
            return
        if self.asleep:
            self.times.wait_s += now_s - self._free_s
        else:
            self.times.probe_s += now_s - self._free_s
        self._note("wait" if self.asleep else "probe", self._free_s, now_s)
        self.asleep, self._free_s = False, now_s

    def ran(self, stretch: Stretch) -> None:
        """A stretch of layers is over."""
        self._team_size, self._free_s = stretch.n_members, stretch.stop_s
        self.times.busy_s += stretch.stop_s - stretch.began_s - stretch.waited_s
        self.times.meet_s += stretch.began_s - stretch.joined_s + stretch.waited_s
        self.times.multiply_adds += stretch.multiply_adds
        layers = stretch.first_layer, stretch.last_layer
        kind = "team" if stretch.n_members > 1 else "data"
        self._note(kind, stretch.joined_s, stretch.stop_s, stretch.row_group, *layers, stretch.multiply_adds)
        self._note("barrier", stretch.joined_s, stretch.began_s, stretch.row_group)
        self._note("barrier", stretch.stop_s - stretch.waited_s, stretch.stop_s, stretch.row_group)

    def decided(self, event: Event, actions: Sequence[Action], asked_s: float, granted_s: float, done_s: float) -> None:
        """The scheduler has decided on what this worker reported."""
        self.times.lock_s += granted_s - asked_s
        if isinstance(event, Boundary):
            teams = [action.members for action in actions if isinstance(action, Team)]
            if any(len(members) > self._team_size for members in teams):
                self.times.recruit_s += done_s - granted_s
            else:
                self.times.probe_s += done_s - granted_s
            self._note("probe", asked_s, done_s, event.row_group)
        else:
            self.times.enlist_s += done_s - granted_s
        self._free_s = done_s

    def close(self, elapsed_s: float) -> None:
        """The run has ended."""
        self.times.close(elapsed_s)
        if elapsed_s > self._free_s:
            self._note("idle", self._free_s, elapsed_s)

    def _note(self, kind: str, start_s: float, stop_s: float, *details: int) -> None:
        if self._trace and (stop_s > start_s or kind in ("data", "team")):
            self.spans.append(Span(self._process, self.times.worker, kind, start_s, stop_s, *details))
