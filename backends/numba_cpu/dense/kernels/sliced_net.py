"""Opens the network for kernels of direct calls: arrays that a table in the threads' shared memory names by address.

A call passes the table instead of twenty arrays, each of which would cost it 70 ns; and the table may be filled anew between
calls, when a layout is packed later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from backends.common.jit import inline
from backends.common.kernels.arrays_at import floats_at, int32s_at, int64s_at
from backends.common.raw_memory import pointer
from backends.common.short_weights import Weights
from backends.numba_cpu.dense.kernels.helpers import FIRST_MEMBER, NET_LINES, OF_NET
from backends.numba_cpu.layout.kernels.slices import PART_WIDTH, TABLE_WIDTH


class SlicedNet(NamedTuple):
    """A network in slices, and the memory of the threads that compute it.

    ids : uint16 or uint32 (entries,)                see `backends.numba_cpu.layout.slices.Slices`
    weights : float32, uint16 or int16 (entries,)    see `backends.common.short_weights`
    parts : int64 (slices, 4)
    order : int32 (slices * 16,)
    bias : float32 (slices * 16 + n,)                and activations of single neurons
    table : int64 (layers, 8)
    clamps : float32 (layers, 2)
    last : int32 (n_outputs,)                        the last layer's output that stands for each of the network's
    cuts : int64 (layers, members + 1, members + 1)  see `backends.numba_cpu.layout.slices.Slices.cuts`
    memory : float32 (members, 2, floats)            activations before and after a layer, of each member's block
    alive : int32 (members, neurons)                 each member's list of inputs that are not zero
    counts : int64 (members, 8)                      of this call: see `backends.numba_cpu.dense.kernels.event_driven`
    targets : uint16 or uint32 (connections,)        see `backends.numba_cpu.layout.event_rows.EventRows`
    row_weights : float32 (connections,)
    starts : int64 (entries,)
    starts_at : int64 (layers,)                      empty where the network is not packed by rows
    always : bool                                    the bias is added to a sum of zero too
    far : bool                                       ids and weights do not stay in the third-level cache between calls
    """

    ids: NDArray[np.uint16] | NDArray[np.uint32]
    weights: Weights
    parts: NDArray[np.int64]
    order: NDArray[np.int32]
    bias: NDArray[np.float32]
    table: NDArray[np.int64]
    clamps: NDArray[np.float32]
    last: NDArray[np.int32]
    cuts: NDArray[np.int64]
    memory: NDArray[np.float32]
    alive: NDArray[np.int32]
    counts: NDArray[np.int64]
    targets: NDArray[np.uint16] | NDArray[np.uint32]
    row_weights: NDArray[np.float32]
    starts: NDArray[np.int64]
    starts_at: NDArray[np.int64]
    always: bool
    far: bool


ARRAYS = SlicedNet._fields[:-2]
"""Each has two entries of the table: address and size; then come the numbers."""

(
    IDS, WEIGHTS, PARTS, ORDER, BIAS, TABLE, CLAMPS, LAST, CUTS, MEMORY, ALIVE, COUNTS, TARGETS, ROW_WEIGHTS, STARTS, STARTS_AT,
) = range(OF_NET, OF_NET + 2 * len(ARRAYS), 2)  # fmt: skip
ALWAYS, N_HELPED, MEMBERS, LATEST, FAR = range(OF_NET + 2 * len(ARRAYS), OF_NET + 2 * len(ARRAYS) + 5)
"""The rule of the bias; instances from which on helpers are called; threads; the address of the number of the network that was
called last in this process; whether the network is far."""

assert FAR < FIRST_MEMBER, NET_LINES


WEIGHTS_OF: dict[str, int] = {"float32": 1, "bfloat16": 2, "float16": 3}
"""Dimensions of the empty array that tells the types of ids and weights (`like`): Numba compiles of a branch on an argument's
dimensions the side that is taken. An array of its own for the weights would cost each call its time."""

_BFLOAT16, _FLOAT16 = WEIGHTS_OF["bfloat16"], WEIGHTS_OF["float16"]


@inline
def weights_at(address, n, like):
    """The weights at an address, in the format that `like` tells.

    like : uint16 or uint32 (0,), (0, 0) or (0, 0, 0)
    """
    if like.ndim == _BFLOAT16:
        return carray(pointer(address), n, np.uint16)
    if like.ndim == _FLOAT16:
        return carray(pointer(address), n, np.int16)
    return floats_at(address, n)


@inline
def net_of(shared, like):
    """The network that the table names.

    shared : int64 (lines * 8,)
    like : uint16 or uint32 (0,), (0, 0) or (0, 0, 0)      of the type of the ids; its dimensions are those of `WEIGHTS_OF`
    """
    members, n_layers = shared[MEMBERS], shared[TABLE + 1] // TABLE_WIDTH
    return SlicedNet(
        carray(pointer(shared[IDS]), shared[IDS + 1], like.dtype),
        weights_at(shared[WEIGHTS], shared[WEIGHTS + 1], like),
        int64s_at(shared[PARTS], (shared[PARTS + 1] // PART_WIDTH, PART_WIDTH)),
        int32s_at(shared[ORDER], shared[ORDER + 1]),
        floats_at(shared[BIAS], shared[BIAS + 1]),
        int64s_at(shared[TABLE], (n_layers, TABLE_WIDTH)),
        floats_at(shared[CLAMPS], (n_layers, 2)),
        int32s_at(shared[LAST], shared[LAST + 1]),
        int64s_at(shared[CUTS], (n_layers, members + 1, members + 1)),
        floats_at(shared[MEMORY], (members, 2, shared[MEMORY + 1] // (2 * members))),
        int32s_at(shared[ALIVE], (members, shared[ALIVE + 1] // members)),
        int64s_at(shared[COUNTS], (members, shared[COUNTS + 1] // members)),
        carray(pointer(shared[TARGETS]), shared[TARGETS + 1], like.dtype),
        floats_at(shared[ROW_WEIGHTS], shared[ROW_WEIGHTS + 1]),
        int64s_at(shared[STARTS], shared[STARTS + 1]),
        int64s_at(shared[STARTS_AT], shared[STARTS_AT + 1]),
        shared[ALWAYS] != 0,
        shared[FAR] != 0,
    )
