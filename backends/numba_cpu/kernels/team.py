"""Lets the workers of one row group meet at a barrier, exchange figures, and cut columns between them.

The barrier is a central one (J. M. Mellor-Crummey, M. L. Scott, "Algorithms for Scalable Synchronization on Shared-Memory
Multiprocessors", ACM TOCS 9(1), 1991, section 3.1), with the number of meetings in place of a sense that is reversed.

A worker on its own is a team of one and takes the same path; its meetings cost nothing. All that members share besides the row
group is one array (`sparsednn.backend.Team.shared`), fresh for every team, so that nothing of an earlier team can be mistaken
for this one's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.jit import atomic_add, atomic_load, atomic_store, clock_ns, inline, kernel, pause, yield_core
from sparsednn.backend.shared_memory import (
    ARRIVED,
    CALL,
    DONE,
    FIRST_LOGGED,
    FIRST_MEMBER,
    LINE,
    MEET_NS,
    MEETINGS,
    N_LOGGED,
    SCORE,
    STEP,
    STOP_FLAG,
    WORK,
    Control,
    Team,
)

# What the leader decides. All but COMPUTE end the kernel: the row group is through, the stop flag was set, the worker was
# called, or more room is needed.
COMPUTE, THROUGH, STOPPED, CALLED, GROW = range(5)

LOG_ABOVE_NS = 2_000
"""Waits at meetings longer than this are logged, if the log has room."""


class Place(NamedTuple):
    """One worker's place in a team; for the entries of its arrays see `sparsednn.backend.shared_memory`.

    shared : int64 (FIRST_MEMBER + n_members * LINE,)
    member, n_members : int               the leader is member 0
    spins : int                           how often to look whether the others have come before letting another thread run
    flags : int64 (LINE,)                 `Control.flags`
    call : int64 (LINE,)                  the leader's line of `Control.calls`
    progress : int64 (LINE,)              the leader's line of `Control.progress`
    log : int64 (FIRST_LOGGED + 2 * n,)   the member's line of `Team.logs`
    """

    shared: NDArray[np.int64]
    member: int
    n_members: int
    spins: int
    flags: NDArray[np.int64]
    call: NDArray[np.int64]
    progress: NDArray[np.int64]
    log: NDArray[np.int64]

    @classmethod
    def of(cls, team: Team, control: Control, member: int) -> Place:
        """Return a member's place in a team."""
        leader = team.workers[0]
        return cls(
            shared=team.shared,
            member=member,
            n_members=len(team.workers),
            spins=team.spins,
            flags=control.flags,
            call=control.calls[leader],
            progress=control.progress[leader],
            log=team.logs[member],
        )

    @classmethod
    def for_warm_up(cls) -> Place:
        """Return the place of a worker on its own, asked to stop before the first layer: kernels compile, and no more."""
        control = Control.for_workers(1)
        control.request_stop()
        return cls.of(Team.of((0,)), control, 0)


@inline
def meet(place):
    """Wait until all members have come; False if everything is to stop.

    place : Place
    """
    n_members = place.n_members
    if n_members == 1:
        return True
    shared, flags = place.shared, place.flags
    held = atomic_load(shared, MEETINGS)
    if atomic_add(shared, ARRIVED, np.int64(1)) == n_members - 1:
        atomic_store(shared, ARRIVED, np.int64(0))
        atomic_store(shared, MEETINGS, held + 1)
        return True
    came_at, looks = clock_ns(), 0
    while atomic_load(shared, MEETINGS) == held:
        looks += 1
        if looks < place.spins:
            pause()
        else:
            if atomic_load(flags, STOP_FLAG) != 0:
                return False
            yield_core()
    waited = clock_ns() - came_at
    shared[FIRST_MEMBER + LINE * place.member + MEET_NS] += waited
    if waited > LOG_ABOVE_NS:
        log_wait(place.log, came_at, came_at + waited)
    return True


@inline
def log_wait(log, start, stop):
    """Note a wait, if there is room.

    log : int64 (FIRST_LOGGED + 2 * n,)    see `sparsednn.backend.shared_memory.Team.logs`
    """
    at = FIRST_LOGGED + 2 * log[N_LOGGED]
    if at + 1 < log.shape[0]:
        log[at], log[at + 1] = start, stop
        log[N_LOGGED] += 1


@kernel
def hold_meeting(place):
    """Meet once; False if everything is to stop.

    place : Place
    """
    return meet(place)


@inline
def must_leave(place, score, fresh):
    """Return the leader's decision at a layer boundary: STOPPED, CALLED, or COMPUTE to go on; a team that has just begun is not
    called away.

    place : Place
    """
    if atomic_load(place.flags, STOP_FLAG) != 0:
        return STOPPED
    called = atomic_load(place.call, CALL)
    if called != 0 and score >= called - 1 and not fresh:
        return CALLED
    return COMPUTE


@inline
def decide(place, step):
    """Tell all members what the leader has decided; returns it, or STOPPED.

    place : Place
    """
    shared = place.shared
    if place.member == 0:
        shared[STEP] = step
    return shared[STEP] if meet(place) else np.int64(STOPPED)


@inline
def share(n, member, n_members):
    """First of `n` things that falls to a member, when they are split by count."""
    return n * member // n_members


@inline
def cut(ends, first, last, member, n_members):
    """First position in ``first .. last`` that falls to a member, so that all have equally many of the things that end at
    `ends`.

    Position q has the things ``ends[q] .. ends[q + 1]``. A position is given to the member in whose share its first thing is.

    ends : int64 (positions + 1,)
    """
    if member == 0:
        return first
    if member == n_members:
        return last
    begin = ends[first]
    wanted = begin + (ends[last] - begin) * member // n_members
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if ends[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inline
def advance(place, amount):
    """Count rows x layers that are done.

    place : Place
    """
    place.progress[DONE] += amount


@inline
def show(place, score, work):
    """Publish how far the row group is, and how much work its next layer is expected to be.

    place : Place
    """
    place.progress[SCORE] = score
    place.progress[WORK] = work
