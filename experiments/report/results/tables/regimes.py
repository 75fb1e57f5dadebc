"""Generates the table of the map of regimes: each scheduler over the best one, measured, held out and simulated."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from experiments.figures.base.regimes import SIMULATED, contests
from experiments.figures.regimes import claimed, in_order, schedulers, verdicts
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.markdown import marked, source, table


def regimes(records: CommittedRecords) -> str:
    """Return a row for each place on the map; where schedulers that choose are as good as the rival; where the claim holds."""
    found = in_order(contests(records.points("regimes").points))
    names = schedulers(found)
    rows = []
    for contest in found:
        regime, simulated = contest.regime, contest.regime.kind == SIMULATED
        place = (marked("", simulated).strip() or regime.kind, regime.job, regime.machine)
        size = f"{regime.instances_per_thread:,.0f}"
        ratios = (_middle(contest.ratios(name)) if name in contest.points else "" for name in names)
        rows.append((*place, size, f"`{contest.rival}`", _middle(contest.against_itself()), *ratios))
    header = ("", "job", "processes x threads", "instances a thread", "rival", "itself", *(f"`{name}`" for name in names))
    lines = "\n".join(f"- {line}" for line in (*verdicts(found), *claimed(found)))
    return "\n\n".join([table(header, rows, n_left=3), lines, source(records.read("regimes"))])


def _middle(values: Sequence[float]) -> str:
    return f"{median(values):.2f}" if values else ""
