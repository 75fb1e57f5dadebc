"""Orders groups of columns so that each shares inputs with the one before."""

from __future__ import annotations

import numpy as np

from backends.common.jit import kernel

GROUP = 16
"""Outputs with the same inputs that are computed together; what is packed depends on it."""

MOST_USERS = 64
"""Groups that are looked at for each input: what nearly all groups use tells little about which are near each other."""


@kernel
def chain(starts, ids, n_inputs, order):
    """Order columns: each is followed by the one, of those that are left, that shares most inputs with it.

    Where none shares any, the first that is left follows.

    starts : int64 (n + 1,)       where each column's inputs start
    ids : int32 (starts[n],)
    order : int64 (n,)            result
    """
    n = order.shape[0]
    users_at, users = np.zeros(n_inputs + 1, np.int64), np.empty(ids.shape[0], np.int32)
    for i in ids:
        users_at[i + 1] += 1
    for i in range(n_inputs):
        users_at[i + 1] += users_at[i]
    free_at = users_at[:-1].copy()
    for column in range(n):
        for k in range(starts[column], starts[column + 1]):
            users[free_at[ids[k]]] = column
            free_at[ids[k]] += 1
    is_left, n_shared, touched = np.ones(n, np.uint8), np.zeros(n, np.int32), np.empty(n, np.int32)
    first_left, column = 0, 0
    for number in range(n):
        order[number] = column
        is_left[column] = 0
        n_touched = 0
        for k in range(starts[column], starts[column + 1]):
            begin = users_at[ids[k]]
            for at in range(begin, min(users_at[ids[k] + 1], begin + MOST_USERS)):
                other = users[at]
                if is_left[other] != 0:
                    if n_shared[other] == 0:
                        touched[n_touched] = other
                        n_touched += 1
                    n_shared[other] += 1
        best, column = 0, -1
        for t in range(n_touched):
            other = touched[t]
            if n_shared[other] > best:
                best, column = n_shared[other], np.int64(other)
            n_shared[other] = 0
        while first_left < n and is_left[first_left] == 0:
            first_left += 1
        if column < 0:
            column = first_left
