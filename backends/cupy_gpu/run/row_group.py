"""Tracks the instances of a row group: those that wait, those in the current block, and the results of the others."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.row_results import in_row_order, origins
from backends.cupy_gpu.device.interface import Event
from backends.cupy_gpu.layout.inputs import DeviceInputs, InputRows
from backends.cupy_gpu.run.barrier import Meeting
from sparsednn.backend import Control, GroupResult, Team


class DeviceGroup:
    """One row group, in the memory of the worker that opened it.

    Parameters
    ----------
    store : DeviceInputs
    inputs : csr_array
    rows : int64 array
        Which rows of `inputs`.
    worker : int
    output : bool
        Keep the last activations.
    skip_empty : bool
        Whether instances without entries are dead already.
    """

    def __init__(
        self, store: DeviceInputs, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int, *, output: bool, skip_empty: bool
    ) -> None:  # fmt: skip
        self._store = store
        self.worker, self.n_rows, self.wants_output = worker, len(rows), output
        self._inputs, self._rows = inputs, rows
        has_entries = inputs.indptr[rows + 1] > inputs.indptr[rows]
        self.waiting = np.flatnonzero(has_entries) if skip_empty else np.arange(len(rows))
        self.block: Any = None
        self.ids = self.waiting[:0]
        self.layer = 0
        self.n_finished = 0
        self.multiply_adds = 0
        self.pending: deque[tuple[Event | None, Event, int]] = deque()
        self.began: Event | None = None
        self._sums = np.zeros(len(rows))
        self._twin = np.full(len(rows), -1)
        self._retired = np.zeros(len(rows), np.bool_)
        self._outputs: list[sp.csr_array] = []
        self._output_ids: list[NDArray[np.int64]] = []
        self._lock = threading.Lock()
        self._meeting: Meeting | None = None

    def meeting(self, team: Team, control: Control) -> Meeting:
        """Return where the members of a team meet."""
        with self._lock:
            if self._meeting is None or self._meeting.team is not team:
                self._meeting = Meeting(team, control)
            return self._meeting

    def next_inputs(self, most: int) -> InputRows:
        """Return the next instances that wait, which become the current ones."""
        self.ids, self.waiting, self.layer = self.waiting[:most], self.waiting[most:], 0
        return self._store.choose(self._inputs, self._rows[self.ids])

    def drop(self, keep: NDArray[np.int64], retired: NDArray[np.int64], twins: dict[int, int], full_sum: float) -> None:
        """Go on with some of the current instances; of the others, say which are retired and whose twin each merged one is."""
        self._retired[self.ids[retired]] = True
        self._sums[self.ids[retired]] = full_sum
        for one, other in twins.items():
            self._twin[self.ids[one]] = self.ids[other]
        self.ids = self.ids[keep]

    def finish(self, sums: NDArray[np.float64], outputs: list[sp.csr_array]) -> None:
        """Keep the results of the current instances."""
        self._sums[self.ids] = sums
        self._outputs += outputs
        self._output_ids.append(self.ids)
        self.block = None

    def result(self, high: float, n_outputs: int) -> GroupResult:
        """Return all results in the order of the rows."""
        origin, output = origins(self._twin, self.n_rows), None
        if self.wants_output:
            none = sp.csr_array((0, n_outputs), dtype=np.float32)
            finished = sp.csr_array(sp.vstack([none, *self._outputs], format="csr", dtype=np.float32))
            ids = np.concatenate([np.zeros(0, np.int64), *self._output_ids])
            output = in_row_order(finished, ids, self._retired, high)[origin]
        return GroupResult(self._sums[origin], self.multiply_adds, output)
