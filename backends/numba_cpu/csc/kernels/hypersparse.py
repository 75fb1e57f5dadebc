"""Computes single columns of a row group in DCSC: of a layer's connections, those whose inputs have an entry.

Doubly compressed sparse columns store only columns with an entry. Where an input's column is stored is told by a bit for each
column and a count for each word of them, in place of the auxiliary array of A. Buluç, J. R. Gilbert, "On the representation and
multiplication of hypersparse matrices", IPDPS 2008; a walk over connections loads a bit each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.jit import always_inline, count_bits
from backends.numba_cpu.csc.kernels.columns import next_stamp

STORED = 6
"""Entry of `DoublyCompressedWork.state`: how many columns each of the matrices has. The others are those of `ColumnWork`."""

WORD_BITS = 64


class DoublyCompressedWork(NamedTuple):
    """A row group in DCSC, which all members of its team work on; two matrices that swap at every layer.

    columns : uint16 or uint32 (2, widest)    the stored columns, ascending; as many as ``state[STORED + side]`` says
    start : int64 (2, widest), n_entries : int32 (2, widest)    where the entries of each of them start, and how many they are
    occupied : uint64 (2, n_words)        a bit for each column: whether it is stored
    before : int32 (2, n_words)           how many columns are stored before each word's
    room, ops : int64 (widest,)           room that each column of the next matrix needs, and multiply-adds that it takes
    ids0, ids1 : uint16 or uint32 (capacity,), values0, values1 : float32 (capacity,)    rows of the group and values
    rows : int64 (n_rows,)                position in the row group of each row still here
    reached, alive, renumbered : int32 (n_rows,)    see `ColumnWork`
    state : int64 (N_STATE,)
    """

    columns: NDArray[Any]
    start: NDArray[np.int64]
    n_entries: NDArray[np.int32]
    occupied: NDArray[np.uint64]
    before: NDArray[np.int32]
    room: NDArray[np.int64]
    ops: NDArray[np.int64]
    ids0: NDArray[Any]
    ids1: NDArray[Any]
    values0: NDArray[np.float32]
    values1: NDArray[np.float32]
    rows: NDArray[np.int64]
    reached: NDArray[np.int32]
    alive: NDArray[np.int32]
    renumbered: NDArray[np.int32]
    state: NDArray[np.int64]


class HypersparseAccumulator(NamedTuple):
    """One worker's sparse accumulator, and the connections of the current column that matter.

    sums : float32 (n_rows,), marks : int32 (n_rows,), touched : int32 (n_rows + 1,), stamp : int32 (1,)
        See `ColumnAccumulator`.
    hits : int32 (widest + 1,)            connections whose inputs are stored, counted from the column's first; one to spare
    slots : int32 (widest,)               where these inputs are stored
    """

    sums: NDArray[np.float32]
    marks: NDArray[np.int32]
    touched: NDArray[np.int32]
    stamp: NDArray[np.int32]
    hits: NDArray[np.int32]
    slots: NDArray[np.int32]


@always_inline
def find_hits(conn_ids, begin, end, occupied, before, hits, slots):
    """List the connections of an output column whose inputs are stored, and where these are; return how many.

    conn_ids : uint16 or uint32 (connections,)              of all layers, see `Connections`
    occupied : uint64 (n_words,), before : int32 (n_words,)    the matrix before the layer, in DCSC
    hits : int32 (widest + 1,), slots : int32 (widest,)     result
    """
    n_hits = 0
    for k in range(begin, end):
        i = np.uint64(conn_ids[np.uint64(k)])
        hits[np.uint64(n_hits)] = np.int32(k - begin)
        n_hits += np.int64((occupied[i >> np.uint64(6)] >> (i & np.uint64(63))) & np.uint64(1))
    for h in range(n_hits):
        i = np.uint64(conn_ids[np.uint64(begin + hits[np.uint64(h)])])
        word = i >> np.uint64(6)
        below = occupied[word] & ((np.uint64(1) << (i & np.uint64(63))) - np.uint64(1))
        slots[np.uint64(h)] = np.int32(before[word] + count_bits(below))
    return n_hits


@always_inline
def symbolic_hits(n_hits, slots, start, n_entries, ids, n_alive, own):
    """Count the distinct rows that one output column reaches, and the multiply-adds it takes.

    slots : int32 (widest,)                                                               see `find_hits`
    start : int64 (widest,), n_entries : int32 (widest,), ids : uint16 or uint32 (capacity,)    the matrix, in DCSC
    own : HypersparseAccumulator
    """
    marks, stamp = own.marks, next_stamp(own)
    reached, n_ops = 0, 0
    for h in range(n_hits):
        slot = np.uint64(slots[np.uint64(h)])
        n_here = np.int64(n_entries[slot])
        n_ops += n_here
        if reached == n_alive:
            continue
        first = start[slot]
        for p in range(first, first + n_here):
            row = np.uint64(ids[np.uint64(p)])
            reached += marks[row] != stamp
            marks[row] = stamp
    return reached, n_ops


@always_inline
def accumulate_hits(conn_weights, begin, n_hits, hits, slots, start, n_entries, ids, values, sums):
    """Add up one output column in the accumulator.

    conn_weights : float32 (connections,)                                                       of all layers
    hits : int32 (widest + 1,), slots : int32 (widest,)                                         see `find_hits`
    start : int64 (widest,), n_entries : int32 (widest,), ids : uint16 or uint32 (capacity,)    the matrix, in DCSC
    values : float32 (capacity,)
    sums : float32 (n_rows,)                                                                    result; zero before
    """
    for h in range(n_hits):
        weight, slot = conn_weights[np.uint64(begin + hits[np.uint64(h)])], np.uint64(slots[np.uint64(h)])
        first = start[slot]
        for p in range(first, first + n_entries[slot]):
            at = np.uint64(p)
            sums[np.uint64(ids[at])] += weight * values[at]


@always_inline
def accumulate_hits_of_row(conn_weights, begin, n_hits, hits, slots, start, ids, values):
    """Add up one output column that reaches one row, in a register; return that row and its sum.

    conn_weights : float32 (connections,)                                                  of all layers
    hits : int32 (widest + 1,), slots : int32 (widest,)                                    see `find_hits`
    start : int64 (widest,), ids : uint16 or uint32 (capacity,), values : float32 (capacity,)    the matrix, in DCSC
    """
    row, total = np.int64(0), np.float32(0)
    for h in range(n_hits):
        at = np.uint64(start[np.uint64(slots[np.uint64(h)])])
        row = np.int64(ids[at])
        total += conn_weights[np.uint64(begin + hits[np.uint64(h)])] * values[at]
    return row, total


@always_inline
def accumulate_hits_marking(conn_weights, begin, n_hits, start, n_entries, ids, values, own):
    """Add up one output column and list the rows it reaches; return how many.

    conn_weights : float32 (connections,)                                                       of all layers
    start : int64 (widest,), n_entries : int32 (widest,), ids : uint16 or uint32 (capacity,)    the matrix, in DCSC
    values : float32 (capacity,)
    own : HypersparseAccumulator                                                                hits and slots; result
    """
    marks, sums, touched, stamp = own.marks, own.sums, own.touched, next_stamp(own)
    hits, slots = own.hits, own.slots
    reached = 0
    for h in range(n_hits):
        weight, slot = conn_weights[np.uint64(begin + hits[np.uint64(h)])], np.uint64(slots[np.uint64(h)])
        first = start[slot]
        for p in range(first, first + n_entries[slot]):
            at = np.uint64(p)
            row = np.uint64(ids[at])
            touched[np.uint64(reached)] = np.int32(row)
            reached += marks[row] != stamp
            marks[row] = stamp
            sums[row] += weight * values[at]
    return reached
