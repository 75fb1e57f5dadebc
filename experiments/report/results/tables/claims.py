"""Generates the tables of the paper's claims: parallelisms, verdicts, strategies, hashing, stragglers."""

from __future__ import annotations

from pathlib import Path

from experiments.figures import hashing, parallelisms, recruiting_strategies
from experiments.figures.base.bars import PARALLELISMS, Groups, grouped, scheduler
from experiments.records.read import Point
from experiments.report.claim import HOLDS, NONE, NOT, UNTESTED
from experiments.report.claims import CLAIMS
from experiments.report.collect import NewestRun
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.kept import KeptExperiment
from experiments.report.results.markdown import marked, network, seconds, source, table
from experiments.report.threads import zero_movement

OF_CLAIMS = ("parallelisms", "hashing", "dataset_table", "locking", "straggler_timeline")
"""Experiments on which claims rest."""


def parallelisms_table(records: CommittedRecords) -> str:
    """Return measured and simulated times of the five parallelisms, and mean ratios to data_then_model."""
    points, rows = records.points("parallelisms"), list[tuple[str, ...]]()
    for sweep in (parallelisms.MEASURED, parallelisms.PRUNED):
        for job, cell in grouped(points.of(sweep), network, scheduler).cells.items():
            pruned = ", dead rows dropped" if sweep == parallelisms.PRUNED else ""
            rows.append((f"{job}, seconds{pruned}", *(_time(cell, way) for way in PARALLELISMS)))
    for sweep in parallelisms.ROWS:
        found = parallelisms.by_network(points, sweep)
        if found.cells:
            simulated = sweep in (parallelisms.HERE, parallelisms.SIMULATED)
            rows.append(_means(f"{MEANS[sweep]}, mean of {len(found.cells)}", found, simulated))
    for name, found in parallelisms.by_assumption(points).items():
        rows.append(_means(f"{name}, mean of {len(found.cells)}", found, simulated=True))
    parts = [table(("network", *PARALLELISMS), rows), source(records.read("parallelisms"))]
    return "\n\n".join(parts)


MEANS = {
    parallelisms.MEASURED: "times as long as data_then_model",
    parallelisms.HERE: "on as many cores",
    parallelisms.PRUNED: "times as long, dead rows dropped",
    parallelisms.SIMULATED: "16 nodes of 28 cores",
}
"""How rows of mean ratios are called."""


def _time(cell: dict[str, Point], way: str) -> str:
    return seconds(cell[way].times_s, spread=False) if way in cell else ""


def _means(name: str, found: Groups, simulated: bool) -> tuple[str, ...]:
    ratios = found.mean_ratios(parallelisms.BASE) | {parallelisms.BASE: 1.0}
    return marked(name, simulated), *(f"{ratios[way]:.2f}" if way in ratios else "" for way in PARALLELISMS)


def claims(records: CommittedRecords) -> str:
    """Return all claims with what is measured, what is simulated, and the verdict."""
    names = [name for name in OF_CLAIMS if records.path(name).is_file() or records.experiment(name)]
    runs = {name: NewestRun(name, records.experiment(name).figure, Path(), records.points(name), 0) for name in names}
    found = [claim(runs) for claim in CLAIMS if claim is not zero_movement]
    rows = [(one.text, one.measured, marked(one.simulated, one.simulated != NONE), one.verdict) for one in found]
    moved = {sweep: _moved(records.experiment("straggler_timeline"), sweep) for sweep in ("measured", "simulated")}
    judged = [one[0] for one in moved.values() if one is not None]
    verdict = UNTESTED if not judged else NOT if any(judged) else HOLDS
    said = {sweep: NONE if one is None else f"{one[0]} of {one[1]} row groups went on without their first worker"
            for sweep, one in moved.items()}  # fmt: skip
    text = "Recruiting moves no data: a leader's row group stays where it is"
    rows.append((text, said["measured"], marked(said["simulated"], said["simulated"] != NONE), verdict))
    header = ("claim", "measured", "simulated", "verdict")
    return "\n\n".join([table(header, [tuple(map(_cell, row)) for row in rows], n_left=4), source(*map(records.read, names))])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _moved(kept: KeptExperiment, sweep: str) -> tuple[int, int] | None:
    """Return how many row groups moved under data_then_model, and of how many."""
    found = [one.moved_row_groups for one in kept.points
             if one.sweep == sweep and one.moved_row_groups is not None and "data_then_model" in one.label]  # fmt: skip
    return (sum(moved for moved, _ in found), sum(of for _, of in found)) if found else None


def strategies(records: CommittedRecords) -> str:
    """Return the strategies of recruiting, as times as long as data parallelism takes."""
    points, parts = records.points("recruiting_strategies"), []
    for sweep in recruiting_strategies.TITLES:
        parts += _grouped(sweep, grouped(points.of(sweep), network, recruiting_strategies.strategy), recruiting_strategies.BASE)
    return _ratios("recruiting_strategies", records, parts, recruiting_strategies.BASE)


def hashing_table(records: CommittedRecords) -> str:
    """Return the kinds of hashing, as times as long as without."""
    points, parts = records.points("hashing"), []
    for sweep in hashing.TITLES:
        groups = grouped(points.of(sweep), _network_and_scheduler, hashing.hashed)
        parts += _grouped(sweep, groups, hashing.BASE)
    return _ratios("hashing", records, parts, hashing.BASE)


def _grouped(sweep: str, groups: Groups, base: str) -> list[tuple[str, ...]]:
    """Return a row for each job and way: seconds, and the ratio to `base`."""
    rows = list[tuple[str, ...]]()
    for job, cell in groups.cells.items():
        for way, point in cell.items():
            ratio = f"{point.median_s / cell[base].median_s:.2f}" if base in cell else ""
            rows.append((marked(job, sweep.startswith("simulated")), way, seconds(point.times_s, spread=False), ratio))
    return rows


def _network_and_scheduler(point: Point) -> str:
    return f"{network(point)} {scheduler(point)}"


def _ratios(name: str, records: CommittedRecords, rows: list[tuple[str, ...]], base: str) -> str:
    header = ("network", "way", "seconds", f"times as long as {base}")
    return "\n\n".join([table(header, rows, n_left=2), source(records.read(name))])


def stragglers(records: CommittedRecords) -> str:
    """Return the worst case of stragglers, without help and with it."""
    points, rows = records.points("straggler_timeline"), []
    for sweep in ("measured", "simulated"):
        found = {scheduler(point): point for point in points.of(sweep)}
        times = [seconds(found[way].times_s) if way in found else "" for way in ("data", "data_then_model")]
        rows.append((marked(f"{points.of(sweep)[0].run.threads} cores", sweep == "simulated"), *times))
    header = ("machine", "data, s", "data_then_model, s")
    return "\n\n".join([table(header, rows), source(records.read("straggler_timeline"))])
