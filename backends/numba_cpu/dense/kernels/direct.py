"""Takes a dense batch through all layers in one call, with helpers that join at a layer boundary when they are awake.

Few instances go through the layers together, at most 32 at a time, and a team cuts each layer by its columns (model
parallelism); of many, each thread takes the next 32 and goes through all layers with them (data parallelism). The caller is
member 0 of every team. Helpers live in `serve`: they spin shortly after a call, and sleep until the next (futex).
"""

from __future__ import annotations

import numpy as np

from backends.common.jit import atomic_add, atomic_load, atomic_store, clock_ns, inline, kernel
from backends.common.kernels.arrays_at import int64s_at
from backends.numba_cpu.dense.kernels.event_driven import BY_ROWS, LEFT, layer_part_by_rows, way_of_layer
from backends.numba_cpu.dense.kernels.helpers import (
    BLOCKS_DONE,
    ENDED,
    FIRST_MEMBER,
    ID,
    LANES_NOW,
    LAYER,
    LINE,
    OF_PACE,
    OUT,
    OUT_COLUMN,
    OUT_ROW,
    OVERFLOWN,
    POSITION,
    QUIT,
    READY,
    REMAINING,
    TEAM_SIZE,
    TURN,
    X_COLUMN,
    X_ROW,
    N,
    X,
    announce,
    form_team,
    looked_again,
    meet,
    wait_for_call,
)
from backends.numba_cpu.dense.kernels.lanes import (
    Rows,
    all_finite,
    instances_alone,
    lanes_for,
    layer_part,
    load_block,
    store_block,
    taken_together,
)
from backends.numba_cpu.dense.kernels.pace import goes_alone, note_call
from backends.numba_cpu.dense.kernels.sliced_net import LATEST, N_HELPED, net_of
from backends.numba_cpu.dense.kernels.slices import MOST_LANES
from backends.numba_cpu.layout.kernels.slices import COLUMNS, N_INPUTS

RIGHT, NOT_FINITE, OVERFLOW, FEW_ALIVE = range(4)
"""Results of `take_part` for a caller. FEW_ALIVE: RIGHT, and it would have been faster with the network packed by rows."""

CALLER_OF_ROWS, CALLER = -1, 0
"""Members that begin a call."""

WORTH_PACKING = 4
"""A call that could take a share of the connections by rows, one in so many, is worth packing them."""


@inline
def rows_of(shared):
    """The arrays of the call that is under way.

    shared : int64 (lines * 8,)
    """
    return Rows(shared[X], shared[X_ROW], shared[X_COLUMN], shared[OUT], shared[OUT_ROW], shared[OUT_COLUMN])


@inline
def member_of_layer(shared, layer, lanes, member, position, size, net):
    """Compute one member's slices of a layer, or its parts of the rows, and wait for the others.

    shared : int64 (lines * 8,)
    net : SlicedNet
    """
    floats = net.memory.shape[2]
    x_at, y_at = (0, floats) if layer % 2 == 0 else (floats, 0)
    if lanes == BY_ROWS:
        layer_part_by_rows(x_at, y_at, net, layer, member, position, size)
    else:
        layer_part(x_at, y_at, lanes, net, layer, net.cuts[layer, size, position], net.cuts[layer, size, position + 1])
    meet(shared, size)


@inline
def block_together(shared, rows, number, n_members, first, n, net):
    """Take instances first .. first + n through all layers with whoever has come; False if an output is not finite.

    shared : int64 (lines * 8,)
    rows : Rows
    net : SlicedNet
    """
    lanes, floats, n_layers = lanes_for(n), net.memory.shape[2], net.table.shape[0]
    load_block(rows, first, n, lanes, net, 0)
    for layer in range(n_layers):
        way = way_of_layer(0 if layer % 2 == 0 else floats, lanes, net, layer, 0)
        size = form_team(shared, number, n_members, layer, way)
        member_of_layer(shared, layer, way, 0, 0, size, net)
    return store_block(rows, first, n, lanes, net, n_layers % 2 * floats)


@inline
def blocks_alone(shared, member, net):
    """Take block after block through all layers, until none is left.

    shared : int64 (lines * 8,)
    net : SlicedNet
    """
    while atomic_load(shared, REMAINING) > 0:
        block = atomic_add(shared, REMAINING, np.int64(-1)) - 1
        if block >= 0:
            first = block * MOST_LANES
            if not instances_alone(rows_of(shared), first, min(shared[N], first + MOST_LANES), member, net):
                atomic_store(shared, OVERFLOWN, np.int64(1))
            atomic_add(shared, BLOCKS_DONE, np.int64(1))


@inline
def with_helpers(shared, latest, rows, n, net):
    """Take a batch through all layers: as many blocks as the members have equally many of alone, the others together.

    shared, latest : int64 (lines * 8,), int64 (1,)
    rows : Rows
    net : SlicedNet
    """
    n_members = net.memory.shape[0]
    n_blocks = (n + MOST_LANES - 1) // MOST_LANES
    alone = n_blocks - n_blocks % n_members
    atomic_store(latest, 0, shared[ID])
    number = announce(shared, n_members, alone)
    blocks_alone(shared, 0, net)
    looks = 0
    while atomic_load(shared, BLOCKS_DONE) < alone:
        looks = looked_again(looks)
    first = min(alone * MOST_LANES, n)
    while first < n:
        together = taken_together(n - first)
        if not block_together(shared, rows, number, n_members, first, together, net):
            atomic_store(shared, OVERFLOWN, np.int64(1))
        first += together
    atomic_store(shared, ENDED, number)


@inline
def pace_of(n):
    """Where the shared memory has the line of calls of n instances."""
    at, lanes = OF_PACE, 1
    while lanes < n:
        lanes, at = 2 * lanes, at + LINE
    return at


@inline
def compute(shared, like):
    """Take a batch through all layers; returns RIGHT, NOT_FINITE (nothing has been done), OVERFLOW or FEW_ALIVE.

    shared : int64 (lines * 8,)           has the batch from X on, and the network's table: see `net_of`
    like : uint16 or uint32 (0,), (0, 0) or (0, 0, 0)    see `net_of`
    """
    net, rows, n = net_of(shared, like), rows_of(shared), shared[N]
    if not all_finite(rows, n, net.table[0, N_INPUTS]):
        return NOT_FINITE
    shared[OVERFLOWN] = 0
    net.counts[:] = 0
    helped, began, pace = net.memory.shape[0] > 1 and n >= shared[N_HELPED], np.int64(0), np.int64(0)
    if helped and n <= MOST_LANES:
        pace = pace_of(n)
        helped, began = not goes_alone(shared, pace), clock_ns()
    if helped:
        with_helpers(shared, int64s_at(shared[LATEST], 1), rows, n, net)
    elif not instances_alone(rows, 0, n, 0, net):
        shared[OVERFLOWN] = 1
    if pace != 0:
        note_call(shared, pace, not helped, clock_ns() - began)
    if atomic_load(shared, OVERFLOWN) != 0:
        return OVERFLOW
    return FEW_ALIVE if net.counts[0, LEFT] * WORTH_PACKING * COLUMNS > net.weights.shape[0] else RIGHT


@inline
def serve(member, shared, like):
    """Help with call after call until told to quit, as member `member`.

    shared : int64 (lines * 8,)
    like : uint16 or uint32 (0,), (0, 0) or (0, 0, 0)    see `net_of`
    """
    mine, seen, turn = FIRST_MEMBER + member * LINE, np.int64(0), np.int64(0)
    latest = int64s_at(shared[LATEST], 1)
    while True:
        seen = wait_for_call(shared, latest, seen)
        if atomic_load(shared, QUIT) != 0:
            return
        net = net_of(shared, like)
        blocks_alone(shared, member, net)
        atomic_store(shared, mine + READY, seen)
        looks = 0
        while atomic_load(shared, ENDED) < seen:
            if atomic_load(shared, mine + TURN) != turn:
                turn += 1
                member_of_layer(
                    shared, shared[LAYER], shared[LANES_NOW], member, shared[mine + POSITION], shared[mine + TEAM_SIZE], net
                )  # fmt: skip
                looks = 0
            looks = looked_again(looks)


@kernel
def take_part(member, x, out, shared, like):
    """Compute a batch as the caller, or help with all that come: one kernel for both, since each would compile all layers anew.

    member : int                               CALLER: the arrays are the batch, in C order; CALLER_OF_ROWS: what `shared` has
                                               from X on is; above 0: a helper, which returns when it is told to quit
    x : float32 (instances, n_inputs)
    out : float32 (instances, n_outputs)       result
    shared : int64 (lines * 8,)
    like : uint16 or uint32 (0,), (0, 0) or (0, 0, 0)    see `net_of`
    """
    if member > CALLER:
        serve(member, shared, like)
        return RIGHT
    if member == CALLER:
        shared[X], shared[X_ROW], shared[X_COLUMN], shared[N] = x.ctypes.data, x.strides[0], x.strides[1], x.shape[0]
        shared[OUT], shared[OUT_ROW], shared[OUT_COLUMN] = out.ctypes.data, out.strides[0], out.strides[1]
    return compute(shared, like)
