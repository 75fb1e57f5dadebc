"""Counts what the seconds of a row group are proportional to: its features.

Parameters of the cost model times features are seconds, so that parameters can be fitted to measured times (see
`experiments.calibrate.fitting`), and a layer's time is known for any row group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sparsednn.backend import CostKind
from sparsednn.simulator.work import Floats, GroupWork, Ints

WIDE_ROWS = 2**16
"""Row groups of more rows, and layers of more outputs, have ids of 4 bytes in place of 2; values have 4."""

ACCUMULATOR_BYTES = 8
"""What a column is added up in, for each row of the group: a sum and a mark of 4 bytes each."""


class Caches(NamedTuple):
    """The bytes that a core keeps near: in its first and second levels, and in the last one, which cores may share."""

    l1_bytes: float
    l2_bytes: float
    l3_bytes: float


@dataclass(frozen=True, slots=True)
class Features:
    """The counts of one row group that its seconds are proportional to, by the names of the parameters.

    Attributes
    ----------
    group : dict of float
        Counts of the whole group: opening it, loading its inputs, adding up its outputs.
    layers : dict of float64 arrays, shape (n_layers,)
        Counts of each layer.
    multiply_adds, steps : float64 arrays, shape (n_layers,)
        Multiply-adds really done, and layer boundaries that the kernel comes to.
    columns : int64 array, shape (n_layers,)
        Parts into which a team can cut a layer.
    """

    group: dict[str, float]
    layers: dict[str, Floats]
    multiply_adds: Floats
    steps: Floats
    columns: Ints


def features(work: GroupWork, kind: CostKind, caches: Caches, block_rows: int = 128) -> Features:
    """Return the features of a row group; `block_rows` is what blocks have unless the kind says.

    Blocks go through all layers one by one, and their size is that of no row group: caches matter to the others only.
    """
    rows = np.where(work.zeros_stay, work.rows_alive, work.n_rows)
    rows = rows if kind.prunes else np.full_like(work.rows_alive, work.n_rows)
    if kind.unit == "blocks":
        rows = np.maximum(rows - np.where(work.full_stays, work.rows_full, 0), 0)
        return _block_features(work, rows, kind.block_rows or block_rows, kind.row_unit, by_rows=kind.loads_by_rows)
    return _column_features(work, rows, caches, by_rows=kind.unit == "rows", prunes=kind.prunes)


def _block_features(work: GroupWork, rows: Ints, block_rows: int, row_unit: int, *, by_rows: bool) -> Features:
    """Blocks of rows that are alive, rests of which are joined at once. By rows: the first layer is part of loading."""
    blocks = np.ceil(rows / block_rows)
    lanes = np.ceil(rows / row_unit) * row_unit
    layers = {
        "layer_s": blocks,
        "column_s": blocks * work.n_outputs,
        "connection_s": blocks * work.connections,
        "scan_s": lanes * work.n_outputs,
        "multiply_add_s": lanes * work.connections,
    }
    loaded = float(rows[0] * work.n_inputs[0])
    if by_rows:
        loaded = float(work.multiply_adds[0] + rows[0] * work.n_outputs[0])
        layers = {name: np.where(np.arange(len(rows)) == 0, 0.0, counts) for name, counts in layers.items()}
    group = {"open_s": 1.0, "load_s": loaded, "sum_s": float(rows[-1] * work.n_outputs[-1])}
    done = np.minimum(lanes, work.n_rows) * work.connections  # the dead are dropped by whole vectors
    return Features(group, layers, done, blocks, work.n_outputs)


def _column_features(work: GroupWork, rows: Ints, caches: Caches, *, by_rows: bool, prunes: bool) -> Features:
    """Nonzeros by columns or rows; those of columns that hold every row that is alive are counted apart, for they go faster.

    There cannot be more such columns than the row with the fewest nonzeros has: in networks where rows end with all neurons
    active, that is how many there are.
    """
    rows = rows.copy()
    rows[0] = work.n_rows  # nothing is dropped before the first layer
    # columns are walked through for no row at all too, unless the kernel leaves when all rows are dead
    leaves = np.full(len(rows), True) if by_rows else work.zeros_stay & prunes
    running = np.where(leaves, rows > 0, True).astype(float)
    fan_out = work.connections / np.maximum(work.n_inputs, 1)
    full = np.minimum(work.least_nnz * work.rows_alive * fan_out, work.multiply_adds)
    layers = {
        "layer_s": running,
        "column_s": running * work.n_outputs,
        "connection_s": running * work.connections,
        "visit_s": occupied(work) * work.connections,
        "scan_s": rows * work.n_outputs.astype(float),
        "multiply_add_s": work.multiply_adds - full,
        "full_multiply_add_s": full,
        "entry_s": work.nnz_out.astype(float),
        **_beyond_caches(work, rows, caches, by_rows=by_rows),
    }
    group = {"open_s": 1.0, "load_s": float(work.nnz_in[0]), "sum_s": float(work.nnz_out[-1])}
    columns = np.maximum(rows, 1).astype(np.int64) if by_rows else work.n_outputs
    return Features(group, layers, work.multiply_adds, running, columns)


def occupied(work: GroupWork) -> Floats:
    """Return the share of the inputs of each layer that some row of the group has an activation at. Shape (n_layers,).

    Known where a row has all. Else as if each row had its activations at inputs drawn at random: ``1 - (1 - p)**rows``, where
    rows that are alive have a share p of all activations.
    """
    alive = np.maximum(work.rows_alive, 1)
    share = np.clip(work.nnz_in / np.maximum(alive * work.n_inputs, 1), 0, 1)
    found: Floats = np.where(work.rows_full > 0, 1.0, 1 - (1 - share) ** alive)
    return found


def _beyond_caches(work: GroupWork, rows: Ints, caches: Caches, *, by_rows: bool) -> dict[str, Floats]:
    """What a row group takes from further away than a cache, since so large a part of it does not fit.

    A multiply-add by columns finds its row's accumulator somewhere in those of all rows, and its entry in the matrix before the
    layer, which all columns take parts of. By rows each entry is taken once, and the accumulator is as long as the layer is
    wide, whatever the rows.
    """
    wide = work.n_outputs > WIDE_ROWS if by_rows else np.full(len(rows), work.n_rows > WIDE_ROWS)
    matrix_bytes = work.nnz_in * np.where(wide, 8, 6)
    from_l2 = np.zeros(len(rows)) if by_rows else work.multiply_adds * _left_out(ACCUMULATOR_BYTES * rows, caches.l1_bytes)
    entries = (work.nnz_in + work.nnz_out).astype(float) if by_rows else work.multiply_adds
    return {
        "beyond_l1_s": from_l2,
        "beyond_l2_s": entries * _left_out(matrix_bytes, caches.l2_bytes),
        "beyond_l3_s": entries * _left_out(matrix_bytes, caches.l3_bytes),
    }


def _left_out(n_bytes: Ints, cache_bytes: float) -> Floats:
    """Share of what is used in turn that a cache has no room for."""
    found: Floats = np.maximum(1 - cache_bytes / np.maximum(n_bytes, 1), 0)
    return found
