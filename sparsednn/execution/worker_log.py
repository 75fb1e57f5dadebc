"""Keeps the times of one worker, in real or virtual seconds.

Owner: each executor has one log for each of its workers, and gives every time in, in seconds since the run began.
"""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from collections.abc import Sequence
from typing import NamedTuple

from sparsednn.results.spans import Span
from sparsednn.results.worker_times import WorkerTimes
from sparsednn.schedulers.base import Action, Boundary, Event, FormTeam


class Stretch(NamedTuple):
    """The layers ``first_layer .. last_layer`` of a row group, which one member of a team ran without a break.

    Attributes
    ----------
    n_members, row_group, first_layer, last_layer : int
    multiply_adds : int
        Of this member.
    start_s, stop_s : float
        When it came, and when it left.
    busy_s, meet_s : float
        In kernels, and waiting for the other members.
    waits : sequence of (start_s, stop_s)
        Waits that a trace shows as barriers; a wait that takes no time is left out.
    """

    n_members: int
    row_group: int
    first_layer: int
    last_layer: int
    multiply_adds: int
    start_s: float
    stop_s: float
    busy_s: float
    meet_s: float
    waits: Sequence[tuple[float, float]] = ()


class WorkerLog:
    """The times of one worker, and its spans if they are asked for.

    Attributes
    ----------
    times : WorkerTimes
    spans : list of Span
        Empty without `trace`.
    asleep : bool
        Whether the scheduler has sent the worker to sleep and no order has come since.
    """

    def __init__(self, process: int, worker: int, *, trace: bool) -> None:
        self.times = WorkerTimes(worker=worker)
        self.spans: list[Span] = []
        self.asleep = False
        self._process = process
        self._trace = trace
        self._free_s = 0.0
        self._team_size = 1

    def woken(self, now_s: float, *, joins: bool) -> None:
        """An order has come; before it the worker was asleep, or (`joins`) left a team and stood at its layer boundary."""
        if not self.asleep and not joins:
            return
        if self.asleep:
            self.times.wait_s += now_s - self._free_s
        else:
            self.times.probe_s += now_s - self._free_s
        self._note("wait" if self.asleep else "probe", self._free_s, now_s)
        self.asleep, self._free_s = False, now_s

    def ran(self, stretch: Stretch) -> None:
        """The worker has run a stretch of layers."""
        self._team_size, self._free_s = stretch.n_members, stretch.stop_s
        self.times.busy_s += stretch.busy_s
        self.times.meet_s += stretch.meet_s
        self.times.multiply_adds += stretch.multiply_adds
        layers = stretch.first_layer, stretch.last_layer
        kind = "team" if stretch.n_members > 1 else "data"
        self._note(kind, stretch.start_s, stretch.stop_s, stretch.row_group, *layers, stretch.multiply_adds)
        for start_s, stop_s in stretch.waits:
            self._note("barrier", start_s, stop_s, stretch.row_group)

    def fetched(self, start_s: float, stop_s: float) -> None:
        """The worker has asked a process for a row group, and fetched its rows if there was one."""
        self.times.fetch_s += stop_s - start_s
        self._free_s = stop_s
        self._note("fetch", start_s, stop_s)

    def decided(self, event: Event, actions: Sequence[Action], asked_s: float, granted_s: float, done_s: float) -> None:
        """The scheduler has decided on an event of this worker, which asked for the lock and was granted it."""
        self.times.lock_s += granted_s - asked_s
        self._free_s = done_s
        if not isinstance(event, Boundary):
            self.times.enlist_s += done_s - granted_s
            return
        if any(isinstance(action, FormTeam) and len(action.members) > self._team_size for action in actions):
            self.times.recruit_s += done_s - granted_s
        else:
            self.times.probe_s += done_s - granted_s
        self._note("probe", asked_s, done_s, event.row_group)

    def close(self, elapsed_s: float) -> None:
        """The run has ended after `elapsed_s`."""
        self.times.close(elapsed_s)
        if elapsed_s > self._free_s:
            self._note("idle", self._free_s, elapsed_s)

    def _note(self, kind: str, start_s: float, stop_s: float, *details: int) -> None:
        if self._trace and (stop_s > start_s or kind in ("data", "team")):
            self.spans.append(Span(self._process, self.times.worker, kind, start_s, stop_s, *details))
