"""Lets the caller of a network and its helpers find each other: helpers are called, placed in teams layer by layer, and sleep.

They share one int64 array, `shared`, with a line of 8 for what is written by itself. What a call brings is written before
`REMAINING` and `CALL`, whose atomic writes publish it, and stays until `ENDED`. The barrier is that of
`numba_cpu.kernels.team`, without its flags: nobody is called away here.
"""

from __future__ import annotations

import numpy as np

from backends.common.futex import sleep_while, wake_all
from backends.common.jit import atomic_add, atomic_load, atomic_store, clock_ns, inline, kernel, pause, yield_core

LINE = 8
CALL, SLEEPERS, QUIT, REMAINING, BLOCKS_DONE, ARRIVED, MEETINGS, ENDED, OVERFLOWN, OF_CALL, OF_LAYER = range(0, 11 * LINE, LINE)
X, X_ROW, X_COLUMN, N, OUT, OUT_ROW, OUT_COLUMN, ID = range(OF_CALL, OF_CALL + 8)
LAYER, LANES_NOW = OF_LAYER, OF_LAYER + 1
OF_NET = OF_LAYER + LINE
"""From here on `backends.numba_cpu.dense.kernels.sliced_net` has the network's table."""

NET_LINES = 5
OF_PACE = OF_NET + NET_LINES * LINE
"""From here on each number of lanes, 1, 2, 4, .. 32, has a line of `backends.numba_cpu.dense.kernels.pace`."""

PACE_LINES = 6
FIRST_MEMBER = OF_PACE + PACE_LINES * LINE
"""From here on each member has a line."""

READY, TURN, POSITION, TEAM_SIZE = range(4)
"""Entries of a member's line: the call that it has come to; how many layers it was called to, over all calls; its position in
the team of the last one, and that team's size."""

SPIN_NS = 200_000
"""How long a helper spins after a call before it sleeps."""

WAIT_LOOKS = 200
"""How often the caller looks for helpers that are awake before it begins alone."""

PATIENCE = 10_000
"""Looks of a waiting loop before it lets another thread of the system run: the one it waits for may have no core."""


@inline
def looked_again(looks):
    """Pause in a waiting loop that has looked so often; returns how often it has looked then."""
    if looks < PATIENCE:
        pause()
    else:
        yield_core()
    return looks + 1


@inline
def meet(shared, n_members):
    """Wait until all members of a team have finished a layer.

    shared : int64 (lines * 8,)
    """
    if n_members == 1:
        return
    held = atomic_load(shared, MEETINGS)
    if atomic_add(shared, ARRIVED, np.int64(1)) == n_members - 1:
        atomic_store(shared, ARRIVED, np.int64(0))
        atomic_store(shared, MEETINGS, held + 1)
        return
    looks = 0
    while atomic_load(shared, MEETINGS) == held:
        looks = looked_again(looks)


@inline
def form_team(shared, number, n_members, layer, lanes):
    """Give every helper that has come to this call a place in the next layer's team; returns the team's size.

    shared : int64 (lines * 8,)
    """
    size = 1
    shared[LAYER], shared[LANES_NOW] = layer, lanes
    for member in range(1, n_members):
        size += atomic_load(shared, FIRST_MEMBER + member * LINE + READY) == number
    position = 1
    for member in range(1, n_members):
        at = FIRST_MEMBER + member * LINE
        if position < size and atomic_load(shared, at + READY) == number:
            shared[at + POSITION], shared[at + TEAM_SIZE] = position, size
            atomic_store(shared, at + TURN, shared[at + TURN] + 1)
            position += 1
    return size


@inline
def announce(shared, n_members, n_blocks):
    """Begin a call: publish what is in `shared`, and wake helpers that sleep; returns the call's number.

    shared : int64 (lines * 8,)
    """
    atomic_store(shared, BLOCKS_DONE, np.int64(0))
    atomic_store(shared, REMAINING, n_blocks)
    number = atomic_add(shared, CALL, np.int64(1)) + 1
    if atomic_load(shared, SLEEPERS) > 0:
        wake_all(shared, CALL)
    elif n_blocks == 0:
        looks, come = 0, 0
        while looks < WAIT_LOOKS and come < n_members - 1:
            come = 0
            for member in range(1, n_members):
                come += atomic_load(shared, FIRST_MEMBER + member * LINE + READY) == number
            pause()
            looks += 1
    return number


@inline
def wait_for_call(shared, latest, seen):
    """Spin, then sleep, until there is a call after `seen`; returns the latest.

    shared, latest : int64 (lines * 8,), int64 (1,)
    """
    came_at, looks = clock_ns(), 0
    while True:
        number = atomic_load(shared, CALL)
        if number != seen:
            return number
        looks += 1
        if atomic_load(latest, 0) == shared[ID] and (looks % 64 != 0 or clock_ns() - came_at < SPIN_NS):
            pause()
        else:
            atomic_add(shared, SLEEPERS, np.int64(1))
            sleep_while(shared, CALL, seen)
            atomic_add(shared, SLEEPERS, np.int64(-1))


@kernel
def dismiss(shared):
    """Have all helpers quit.

    shared : int64 (lines * 8,)
    """
    atomic_store(shared, QUIT, np.int64(1))
    atomic_add(shared, CALL, np.int64(1))
    wake_all(shared, CALL)
