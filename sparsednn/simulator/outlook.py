"""Forecasts what row groups will take, by the cost model and the work counts of a few rows; for schedulers that cut them."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np

from sparsednn.backend import CostKind
from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.work import Floats, GroupCosts, Ints, WorkProfile

BLOCKS_OF_A_LARGE_GROUP = 64
"""Blocks from which on a row group is large: a part of a block makes no difference any more."""

ROWS_OF_A_LARGE_GROUP = 1_024
"""The same without blocks: each column that rows can reach is reached, and they are not too many for the caches."""


class CostOutlook:
    """An outlook (see `sparsednn.schedulers.outlook.Outlook`) by a cost model: the rows of a sample stand for all.

    Parameters
    ----------
    sample : WorkProfile
        Work counts of a few rows, as the kernel runs them; none only if the process has none either.
    n_rows : int
        Rows of the process.
    model : CostModel
    kind : CostKind
        Of a kernel that is calibrated.
    n_workers, n_cores : int
        Workers of the process at the most, and the cores that it has.
    slowdown : float64 array, shape (n_workers + 1,)
        See `CostModel.slowdown`.
    """

    def __init__(
        self, sample: WorkProfile, n_rows: int, model: CostModel, kind: CostKind, n_workers: int, n_cores: int, slowdown: Floats
    ) -> None:
        self.n_rows, self._model, self._kind, self._n_cores, self._slowdown = n_rows, model, kind, n_cores, slowdown
        self._n_sampled = max(sample.n_instances, 1)
        self._work = sample.group_work(np.arange(sample.n_instances, dtype=np.int64))
        self._overheads = model.overheads(n_workers, n_cores)
        self.start_s, self.decision_s = self._overheads.start_s, self._overheads.decision_s
        self.wake_s = self._overheads.wake_s
        self.block_rows = kind.block_rows or model.block_rows(kind) if kind.unit == "blocks" else 1
        done = sample.nonzeros[:-1].sum(axis=0, dtype=np.float64)
        self._relative_deviation = float(done.std() / done.mean()) if done.any() else 0.0
        # Kept, since the same few sizes are asked for again and again: of the object, and gone with it.
        self.costs = functools.cache(self._costs)
        self.team_s = functools.cache(self._team_s)
        self.row_s = functools.cache(self._row_s)

    def first_layer_s(self, n_rows: int, n_members: int) -> float:
        """See `sparsednn.schedulers.outlook.Outlook`; opening the row group is part of it."""
        costs = self.costs(n_rows)
        return costs.open_s / self._model.core_speed + float(self._layers_s(costs, n_members)[0])

    def deviation_s(self, n_rows: int) -> float:
        """See `sparsednn.schedulers.outlook.Outlook`; as if the rows of a group were drawn at random."""
        beyond_walking_s: float = self.team_s(n_rows, 1) - self.team_s(1, 1)
        return self._relative_deviation / math.sqrt(max(n_rows, 1)) * beyond_walking_s

    def slowdown(self, n_active: int) -> float:
        """See `sparsednn.schedulers.outlook.Outlook`."""
        return float(self._slowdown[n_active])

    def _costs(self, n_rows: int) -> GroupCosts:
        """Return the costs of so many rows that are like those of the sample."""
        work, ratio = self._work, n_rows / self._n_sampled
        scaled = {name: np.ceil(getattr(work, name) * ratio).astype(np.int64) for name in ("rows_alive", "nnz_in", "nnz_out")}
        scaled["rows_full"] = np.floor(work.rows_full * ratio).astype(np.int64)
        many = replace(work, n_rows=n_rows, multiply_adds=work.multiply_adds * ratio, **scaled)
        return self._model.costs([many], self._kind, self._n_cores)[0]

    def _team_s(self, n_rows: int, n_members: int) -> float:
        """See `sparsednn.schedulers.outlook.Outlook`."""
        costs = self.costs(n_rows)
        ends_s = (costs.open_s + costs.close_s) / self._model.core_speed
        return ends_s + float(self._layers_s(costs, n_members).sum())

    def _row_s(self) -> float:
        """See `sparsednn.schedulers.outlook.Outlook`."""
        large = ROWS_OF_A_LARGE_GROUP if self.block_rows == 1 else BLOCKS_OF_A_LARGE_GROUP * self.block_rows
        return (self.team_s(2 * large, 1) - self.team_s(large, 1)) / large

    def _layers_s(self, costs: GroupCosts, n_members: int) -> Floats:
        """Return what each layer takes a team. Shape (n_layers,)."""
        return costs.team_s([self._model.core_speed] * n_members, float(self._overheads.barrier_s[n_members]))


def sampled(profile: WorkProfile, rows: Ints, n: int) -> WorkProfile:
    """Return the counts of the first `n` of some rows; `rows` (int64) are spread, so that these are like any others."""
    return replace(profile, nonzeros=np.ascontiguousarray(profile.nonzeros[:, np.sort(rows[:n])]))
