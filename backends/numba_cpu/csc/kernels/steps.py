"""Decides between the steps of a layer, for activations in CSC and in DCSC: what comes next, and who computes which columns."""

from __future__ import annotations

from backends.common.jit import inline
from backends.numba_cpu.csc.kernels.alive import number_alive
from backends.numba_cpu.csc.kernels.columns import LAYER, N_ALIVE, N_ROWS
from backends.numba_cpu.kernels.team import THROUGH, advance, must_leave

DROP = 16
"""Added to what the leader decides when rows have been numbered anew."""

DENSE_SHARE = 4
"""An output column that reaches at least one row in so many is scanned whole; else only the rows it reached."""


@inline
def plan_columns(n_outputs, room, ops, member, n_members):
    """Cut the columns so that all members have equally much to multiply; all come to the same cuts.

    Returns this member's first column, the one after its last, where it stores (each member has a slot to spare), its
    multiply-adds, those of all, and the room that all need.

    room, ops : int64 (widest,)    see `ColumnWork`
    """
    total_ops, needed = 0, n_members
    for j in range(n_outputs):
        total_ops += ops[j]
        needed += room[j]
    low, high = total_ops * member // n_members, total_ops * (member + 1) // n_members
    first, last, at, own_ops, ops_before, counted = 0, 0, 0, 0, 0, member
    for j in range(n_outputs):
        if ops_before >= low and (ops_before < high or member == n_members - 1):
            if last == 0:
                first, at = j, counted
            last = j + 1
            own_ops += ops[j]
        ops_before += ops[j]
        counted += room[j]
    return first, last, at, own_ops, total_ops, needed


@inline
def next_step(net, prune, work, place, fresh):
    """Return the leader's decision at a layer boundary, THROUGH, STOPPED, CALLED or COMPUTE, and whether dead rows are dropped.

    net : Neurons, work : ColumnWork, place : Place
    """
    state = work.state
    layer, n_layers, n_rows = state[LAYER], net.low.shape[0], state[N_ROWS]
    drop = prune and net.zeros_stay[layer] and state[N_ALIVE] < n_rows and layer > 0
    if drop:
        kept = state[N_ALIVE]
        number_alive(kept, work.rows, work.reached, work.alive, work.renumbered)
        state[N_ROWS] = kept
        advance(place, (n_rows - kept) * (n_layers - layer))
    if layer == n_layers:
        return THROUGH, drop
    if prune and state[N_ALIVE] == 0 and net.zeros_stay[layer]:
        advance(place, state[N_ROWS] * (n_layers - layer))
        state[N_ROWS] = 0
        return THROUGH, False
    return must_leave(place, layer, fresh), drop
