"""Shows the points of a sweep as a table on the console, without columns that say nothing."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from experiments.records.job import fastest, job_of
from experiments.records.point import COMPLETE, FAILED, SUBMITTED, PointRecord, SubmittedJob
from experiments.records.summary import mean, simulated_note, verdict
from sparsednn.results.record import RunRecord

MEANINGS = {
    "inference s": "",
    "x fastest": "time over that of the fastest point with the same network and input",
    "nominal e9/s": "1e9 connections a second as the challenge counts, instances x connections / time",
    "performed e9/s": "1e9 multiply-adds a second that were really done",
    "imbalance": "busy time of the busiest thread over the mean, 1 is even",
    "locking ms": "what a thread spent on agreeing with the others",
    "categories": "instances that end above zero",
    "accuracy": "instances that are classified right",
}
"""Columns beside what differs and the check, with their meaning."""

CHECK = "check"

SAYS_NOTHING = {"x fastest": "1.00", "imbalance": "1.00", "locking ms": "0.00"}
"""The cell, by column, with which a column says nothing if all points have it."""

SAID_ONCE = ("categories", "accuracy", CHECK)
"""Columns that are one line below the table if all points have the same."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a table: its name, a cell for each point (None: the point has no result), and its meaning."""

    name: str
    cells: tuple[str | None, ...]
    meaning: str = ""

    @property
    def constant(self) -> str | None:
        """The cell that all points have, or None if they differ or one has no result."""
        return self.cells[0] if len(set(self.cells)) == 1 else None

    def says_something(self) -> bool:
        """Whether it has a cell that is neither empty nor what the column says nothing with."""
        return any(cell not in (None, "", SAYS_NOTHING.get(self.name)) for cell in self.cells)


def sweep_table(records: list[PointRecord]) -> Group:
    """Return the points of a sweep as a table: what differs between them, and what came of it; with notes below."""
    points = [dict(override.lstrip("+").split("=", 1) for override in record.overrides) for record in records]
    keys = list(dict.fromkeys(key for point in points for key in point))
    swept = [key for key in keys if len({point.get(key) for point in points}) > 1]
    results = _results_of_all(records)
    once = [column for column in results if column.name in SAID_ONCE and column.constant and _all_done(records)]
    shown = [column for column in results if column not in once and column.says_something()]
    table = Table(title=f"{len(records)} points")
    for key in swept:
        table.add_column(key)
    for column in shown:
        table.add_column(column.name, justify="left" if column.name == CHECK else "right")
    for number, point in enumerate(points):
        table.add_row(*(point.get(key, "") for key in swept), *(column.cells[number] or "" for column in shown))
    return Group(table, *_notes(once, shown))


def _all_done(records: list[PointRecord]) -> bool:
    return all(record.status == COMPLETE for record in records)


def _notes(once: list[ResultColumn], shown: list[ResultColumn]) -> list[str]:
    """Say what is the same in all points, and what the columns mean."""
    same = ", ".join(str(column.constant) if column.name == CHECK else f"{column.constant} {column.name}" for column in once)
    meanings = [f"{column.name}: {column.meaning}" for column in shown if column.meaning]
    return [*([f"all points: {same}"] if same else []), *meanings]


def _results_of_all(records: list[PointRecord]) -> list[ResultColumn]:
    """Return the results of all points, also of those without one, in columns."""
    complete = [record.run for record in records if record.status == COMPLETE]
    best = fastest((job_of(run), run.seconds.inference_median, run.seconds.inference_median) for run in complete)
    rows: list[tuple[str | None, ...]] = [
        _results(record.run, best[job_of(record.run)])
        if record.status == COMPLETE
        else (*[None] * len(MEANINGS), _without_result(record))
        for record in records
    ]
    columns = zip(*rows, strict=True)
    return [ResultColumn(name, cells, MEANINGS.get(name, "")) for name, cells in zip((*MEANINGS, CHECK), columns, strict=True)]


def _results(run: RunRecord, fastest_s: float) -> tuple[str, ...]:
    """Return a point's cells in the columns of the table."""
    return (
        f"{run.seconds.inference_median:.3f}{simulated_note(run)}",
        f"{run.seconds.inference_median / max(fastest_s, 1e-9):.2f}",
        f"{run.nominal_edges_per_second / 1e9:,.0f}",
        f"{run.performed_edges_per_second / 1e9:,.1f}",
        f"{run.imbalance.busy:.2f}",
        f"{mean(run.workers, 'locking_s') * 1e3:.2f}",
        "" if run.accuracy is not None else f"{run.categories_count:,}",
        f"{run.accuracy.share:.2%}" if run.accuracy is not None else "",
        verdict(run.truth),
    )


def _without_result(record: PointRecord) -> str:
    """Say what has become of a point that is not complete."""
    if record.status == FAILED:
        return f"[red]failed[/]: {escape((record.error or '').splitlines()[0])}"
    job = record.body.job_id if isinstance(record.body, SubmittedJob) else None
    return f"submitted: job {escape(str(job))}" if record.status == SUBMITTED else "not submitted (dry run)"
