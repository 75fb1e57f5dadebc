"""Cuts the rows of one simulated process into row groups as a run goes, and knows what each of them costs."""

from __future__ import annotations

import numpy as np

from sparsednn.backend import CostKind
from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.work import GroupCosts, GroupWork, Ints, WorkProfile


class UncutRows:
    """The rows of a process, of which a scheduler makes row groups.

    Parameters
    ----------
    profile : WorkProfile
    model : CostModel
    kind : CostKind
    n_cores : int
        Of the process.
    order : int64 array, shape (n_rows,)
        Its rows, in the order in which they are neighbours.

    Attributes
    ----------
    groups : list of int64 arrays
        The rows of each row group so far, ascending.
    works : list of GroupWork
    costs : list of GroupCosts
    """

    def __init__(self, profile: WorkProfile, model: CostModel, kind: CostKind, n_cores: int, order: Ints) -> None:
        self._profile, self._model, self._kind, self._n_cores = profile, model, kind, n_cores
        self._order, self._n_cut = order, 0
        self.groups: list[Ints] = []
        self.works: list[GroupWork] = []
        self.costs: list[GroupCosts] = []

    def cut(self, start: int, stop: int) -> GroupCosts:
        """Make a row group of the next rows, and return its costs."""
        if start != self._n_cut or not start < stop <= len(self._order):
            raise RuntimeError(f"the scheduler cuts rows {start} to {stop}, but the next one is {self._n_cut}")
        self._n_cut = stop
        self.groups.append(np.sort(self._order[start:stop]))
        self.works.append(self._profile.group_work(self.groups[-1]))
        self.costs += self._model.costs(self.works[-1:], self._kind, self._n_cores)
        return self.costs[-1]

    def check(self) -> None:
        """Raise RuntimeError unless each row is in a row group."""
        if self._n_cut != len(self._order):
            raise RuntimeError(f"the scheduler stopped all workers but cut only {self._n_cut} of {len(self._order)} rows")
