"""Chooses the layers before which backends drop rows, and puts results into the order of the rows."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def checkpoints(n_layers: int) -> NDArray[np.int64]:
    """Return the layers before which dropping is worth a look: 1, 2, 3, 4, 6, 8, 12, 16, ... below `n_layers`; int64."""
    powers = 2 ** np.arange(n_layers.bit_length() + 1)
    candidates = np.unique(np.concatenate([powers, 3 * powers // 2]))
    return candidates[(candidates > 0) & (candidates < n_layers)].astype(np.int64)


def origins(twin: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    """Return for each row the one that went on for it in the end: itself, its twin, that one's twin, ...

    `twin` is int64, shape (n_rows,) or (0,): the row that each was merged with, or -1.
    """
    origin = np.arange(n_rows)
    merged = np.flatnonzero(twin >= 0)
    while merged.size:
        origin[merged] = twin[origin[merged]]
        merged = merged[twin[origin[merged]] >= 0]
    return origin


def in_row_order(finished: sp.csr_array, ids: NDArray[np.int64], retired: NDArray[np.bool_], high: float) -> sp.csr_array:
    """Return the rows of a group, of which `finished` has those in `ids`; retired ones are `high` everywhere, others zero."""
    n_stored, n_outputs = finished.shape
    position = np.where(retired, n_stored + 1, n_stored)
    position[ids] = np.arange(n_stored)
    empty, full = (sp.csr_array(np.full((1, n_outputs), value, np.float32)) for value in (0, high))
    return sp.csr_array(sp.vstack([finished, empty, full], format="csr"))[position]
