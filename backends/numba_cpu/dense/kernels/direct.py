"""Takes a dense batch through all layers in one call, with helpers that join at a layer boundary when they are awake.

Few instances go through the layers together, at most 32 at a time, and a team cuts each layer by its columns (model
parallelism); of many, each thread takes the next 32 and goes through all layers with them (data parallelism). The caller is
member 0 of every team. Helpers live in `serve`: they spin shortly after a call, and sleep until the next (futex).

What they share is one int64 array, `shared`, with a line of 8 for what is written by itself. What a call brings is written before
`REMAINING` and `CALL`, whose atomic writes publish it, and stays until `ENDED`.
"""

from __future__ import annotations

import numpy as np

from backends.common.futex import sleep_while, wake_all
from backends.common.jit import atomic_add, atomic_load, atomic_store, clock_ns, inline, kernel, pause, yield_core
from backends.numba_cpu.dense.kernels.lanes import (
    Packed,
    Rows,
    all_finite,
    block_alone,
    lanes_for,
    layer_part,
    load_block,
    store_block,
)
from backends.numba_cpu.dense.kernels.slices import MOST_LANES
from backends.numba_cpu.layout.slices import N_INPUTS

LINE = 8
CALL, SLEEPERS, QUIT, REMAINING, BLOCKS_DONE, ARRIVED, MEETINGS, ENDED, OVERFLOWN, ARGUMENTS, OF_LAYER = range(0, 11 * LINE, LINE)
X, X_ROW, X_COLUMN, N, OUT, OUT_ROW, OUT_COLUMN, ID = range(ARGUMENTS, ARGUMENTS + 8)
LAYER, LANES_NOW = OF_LAYER, OF_LAYER + 1
FIRST_MEMBER = OF_LAYER + LINE
"""From here on each member has a line."""

READY, TURN, POSITION, TEAM_SIZE = range(4)
"""Entries of a member's line: the call that it has come to; how many layers it was to take part in, over all calls; its position
in the team of the last one, and the team's size."""

SPIN_NS = 200_000
"""How long a helper spins after a call before it sleeps."""

WAIT_LOOKS = 200
"""How often the caller looks for helpers that are awake before it begins alone."""

PATIENCE = 10_000
"""Looks of a waiting loop before it lets another thread of the system run: the one it waits for may have no core."""

RIGHT, NOT_FINITE, OVERFLOW = range(3)
"""What `call` returns."""


@inline
def rows_of(shared):
    """The arrays of the call that is under way.

    shared : int64 (lines * 8,)
    """
    return Rows(
        shared[X], shared[X_ROW], shared[X_COLUMN], shared[OUT], shared[OUT_ROW], shared[OUT_COLUMN]
    )  # fmt: skip


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
        looks += 1
        if looks < PATIENCE:
            pause()
        else:
            yield_core()


@inline
def member_of_layer(shared, layer, lanes, position, size, net):
    """Compute one member's slices of a layer, and wait for the others.

    shared : int64 (lines * 8,)
    net : Packed
    """
    floats = net.memory.shape[2]
    x_at, y_at = (0, floats) if layer % 2 == 0 else (floats, 0)
    layer_part(x_at, y_at, lanes, net, layer, net.cuts[layer, size, position], net.cuts[layer, size, position + 1])
    meet(shared, size)


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
def block_together(shared, rows, number, n_members, first, n, net):
    """Take instances first .. first + n through all layers with whoever has come; False if an output is not finite.

    shared : int64 (lines * 8,)
    rows : Rows
    net : Packed
    """
    lanes, floats, n_layers = lanes_for(n), net.memory.shape[2], net.table.shape[0]
    load_block(rows, first, n, lanes, net, 0)
    for layer in range(n_layers):
        size = form_team(shared, number, n_members, layer, lanes)
        member_of_layer(shared, layer, lanes, 0, size, net)
    return store_block(rows, first, n, lanes, net, n_layers % 2 * floats)


@inline
def blocks_alone(shared, member, net):
    """Take block after block through all layers, until none is left.

    shared : int64 (lines * 8,)
    net : Packed
    """
    while atomic_load(shared, REMAINING) > 0:
        block = atomic_add(shared, REMAINING, np.int64(-1)) - 1
        if block >= 0:
            first = block * MOST_LANES
            if not block_alone(rows_of(shared), first, min(shared[N] - first, MOST_LANES), member, net):
                atomic_store(shared, OVERFLOWN, np.int64(1))
            atomic_add(shared, BLOCKS_DONE, np.int64(1))


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
def with_helpers(shared, latest, rows, n, n_blocks, net):
    """Take a batch through all layers: as many blocks as the members have equally many of alone, the others together.

    shared, latest : int64 (lines * 8,), int64 (8,)
    rows : Rows
    net : Packed
    """
    n_members = net.memory.shape[0]
    alone = n_blocks - n_blocks % n_members
    atomic_store(latest, 0, shared[ID])
    number = announce(shared, n_members, alone)
    blocks_alone(shared, 0, net)
    while atomic_load(shared, BLOCKS_DONE) < alone:
        pause()
    for block in range(alone, n_blocks):
        first = block * MOST_LANES
        if not block_together(shared, rows, number, n_members, first, min(n - first, MOST_LANES), net):
            atomic_store(shared, OVERFLOWN, np.int64(1))
    atomic_store(shared, ENDED, number)


@kernel
def call(
    x, out, n_helped, shared, latest, ids, weights, ends, order, bias, table, clamps, last, cuts, memory, always
):  # fmt: skip
    """Take a dense batch through all layers; returns RIGHT, NOT_FINITE (nothing has been done) or OVERFLOW.

    x : float32 (instances, n_inputs)          any strides
    out : float32 (instances, n_outputs)       any strides; result
    n_helped : int                             instances from which on helpers are called
    shared : int64 (lines * 8,)
    latest : int64 (8,)                        entry 0 has the number of the network that was called last, of all in this process
    ids : uint16 or uint32 (entries,)          this and the others: see `backends.numba_cpu.dense.kernels.lanes.Packed`
    weights : float32 (entries,)
    ends : int64 (slices + 1,)
    order : int32 (slices * 16,)
    bias : float32 (slices * 16,)
    table : int64 (layers, 4)
    clamps : float32 (layers, 2)
    last : int32 (n_outputs,)
    cuts : int64 (layers, members + 1, members + 1)
    memory : float32 (members, 2, floats)
    """
    net = Packed(ids, weights, ends, order, bias, table, clamps, last, cuts, memory, always)
    n = x.shape[0]
    shared[X], shared[X_ROW], shared[X_COLUMN] = x.ctypes.data, x.strides[0], x.strides[1]
    shared[OUT], shared[OUT_ROW], shared[OUT_COLUMN] = out.ctypes.data, out.strides[0], out.strides[1]
    shared[N] = n
    rows = rows_of(shared)
    if not all_finite(rows, n, table[0, N_INPUTS]):
        return NOT_FINITE
    shared[OVERFLOWN] = 0
    n_blocks = (n + MOST_LANES - 1) // MOST_LANES
    if memory.shape[0] > 1 and n >= n_helped:
        with_helpers(shared, latest, rows, n, n_blocks, net)
    else:
        for block in range(n_blocks):
            first = block * MOST_LANES
            if not block_alone(rows, first, min(n - first, MOST_LANES), 0, net):
                shared[OVERFLOWN] = 1
    return OVERFLOW if atomic_load(shared, OVERFLOWN) != 0 else RIGHT


@inline
def wait_for_call(shared, latest, seen):
    """Spin, then sleep, until there is a call after `seen`; returns the latest.

    shared, latest : int64 (lines * 8,), int64 (8,)
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
def serve(member, shared, latest, ids, weights, ends, order, bias, table, clamps, last, cuts, memory, always):
    """Help with call after call until told to quit, as member `member`; arrays are those of `call`.

    shared : int64 (lines * 8,)
    latest : int64 (8,)
    ids : uint16 or uint32 (entries,)
    weights : float32 (entries,)
    ends : int64 (slices + 1,)
    order : int32 (slices * 16,)
    bias : float32 (slices * 16,)
    table : int64 (layers, 4)
    clamps : float32 (layers, 2)
    last : int32 (n_outputs,)
    cuts : int64 (layers, members + 1, members + 1)
    memory : float32 (members, 2, floats)
    """
    net = Packed(ids, weights, ends, order, bias, table, clamps, last, cuts, memory, always)
    mine, seen, turn = FIRST_MEMBER + member * LINE, np.int64(0), np.int64(0)
    while True:
        seen = wait_for_call(shared, latest, seen)
        if atomic_load(shared, QUIT) != 0:
            return
        blocks_alone(shared, member, net)
        atomic_store(shared, mine + READY, seen)
        looks = 0
        while atomic_load(shared, ENDED) < seen:
            if atomic_load(shared, mine + TURN) != turn:
                turn += 1
                member_of_layer(
                    shared, shared[LAYER], shared[LANES_NOW], shared[mine + POSITION], shared[mine + TEAM_SIZE], net
                )  # fmt: skip
                looks = 0
            looks += 1
            if looks < PATIENCE:
                pause()
            else:
                yield_core()


@kernel
def dismiss(shared):
    """Have all helpers leave `serve`.

    shared : int64 (lines * 8,)
    """
    atomic_store(shared, QUIT, np.int64(1))
    atomic_add(shared, CALL, np.int64(1))
    wake_all(shared, CALL)
