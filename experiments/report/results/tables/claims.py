"""Generates the tables of the paper's claims: parallelisms, verdicts, strategies, hashing, stragglers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.figures import hashing, parallelisms, recruiting_strategies
from experiments.figures.base.bars import PARALLELISMS, Groups, NameOf, grouped, scheduler
from experiments.records.read import Point
from experiments.report.claim import NONE
from experiments.report.claims import all_claims
from experiments.report.collect import NewestRun
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.markdown import marked, network, seconds, source, table

OF_CLAIMS = ("parallelisms", "hashing", "dataset_table", "locking", "straggler_timeline")
"""Experiments on which claims rest."""

WHERE = ("regimes",)
"""Experiments that tell where claims hold; their records may not be there yet."""


def parallelisms_table(records: CommittedRecords) -> str:
    """Return measured and simulated times of the five parallelisms, and mean ratios to data_then_model."""
    points, rows = records.points("parallelisms"), list[tuple[str, ...]]()
    for job, cell in grouped(points.of(parallelisms.MEASURED), network, scheduler).cells.items():
        rows.append((f"{job}, seconds", *(_time(cell, way) for way in PARALLELISMS)))
    for sweep in parallelisms.ROWS:
        found = parallelisms.by_network(points, sweep)
        if found.cells:
            simulated = sweep in (parallelisms.HERE, parallelisms.SIMULATED)
            rows.append(_means(f"{MEANS[sweep]}, mean of {len(found.cells)}", found, simulated))
    assumed = [found.mean_ratios(parallelisms.BASE) for found in parallelisms.by_assumption(points).values()]
    if assumed:
        rows.append((marked(f"under {len(assumed)} assumptions", True), *(_range(assumed, way) for way in PARALLELISMS)))
    return "\n\n".join([table(("network", *PARALLELISMS), rows), source(records.read("parallelisms"))])


def _range(means: Sequence[Mapping[str, float]], way: str) -> str:
    """Say from where to where mean ratios go."""
    found = [ratios[way] for ratios in means if way in ratios]
    return f"{min(found):.2f} to {max(found):.2f}" if found else "1.00"


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
    names = (*OF_CLAIMS, *(name for name in WHERE if records.path(name).is_file()))
    runs = {name: NewestRun(name, records.experiment(name).figure, Path(), records.points(name), 0) for name in names}
    rows = [
        (one.text, one.measured, marked(one.simulated, one.simulated != NONE), one.region, one.verdict)
        for one in all_claims(runs)
    ]
    header = ("claim", "measured", "simulated", "where it holds", "verdict")
    return "\n\n".join([table(header, [tuple(map(_cell, row)) for row in rows], n_left=5), source(*map(records.read, names))])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def strategies(records: CommittedRecords) -> str:
    """Return the strategies of recruiting, as times as long as data parallelism takes."""
    return _ratios("recruiting_strategies", records, network, recruiting_strategies.strategy, recruiting_strategies.BASE)


def hashing_table(records: CommittedRecords) -> str:
    """Return the kinds of hashing, as times as long as without."""
    return _ratios("hashing", records, _network_and_scheduler, hashing.hashed, hashing.BASE)


def _ratios(name: str, records: CommittedRecords, job_of: NameOf, way_of: NameOf, base: str) -> str:
    """Return seconds of one way, and how many times as long the others take; of many networks the mean."""
    points, rows, ways = records.points(name), list[tuple[str, ...]](), dict[str, None]()
    groups = {sweep: grouped(points.of(sweep), job_of, way_of) for sweep in ("measured", "simulated")}
    for found in groups.values():
        ways |= dict.fromkeys(way for way in found.ways if way != base)
    for sweep, found in groups.items():
        simulated = sweep == "simulated"
        if len(found.cells) > FEW:
            means = found.mean_ratios(base)
            rows.append((marked(f"mean of {len(found.cells)} networks", simulated), "", *(f"{means[way]:.2f}" for way in ways)))
            continue
        for job, cell in found.cells.items():
            first = cell[base]
            ratios = (f"{cell[way].median_s / first.median_s:.2f}" if way in cell else "" for way in ways)
            rows.append((marked(job, simulated), seconds(first.times_s, spread=False), *ratios))
    header = ("network", f"{base}, s", *(f"{way} / {base}" for way in ways))
    return "\n\n".join([table(header, rows), source(records.read(name))])


FEW = 4
"""The most networks that have a row each."""


def _network_and_scheduler(point: Point) -> str:
    return f"{network(point)} {scheduler(point)}"


def stragglers(records: CommittedRecords) -> str:
    """Return the worst case of stragglers, without help and with it."""
    points, rows = records.points("straggler_timeline"), []
    for sweep in ("measured", "simulated"):
        found = {scheduler(point): point for point in points.of(sweep)}
        times = [seconds(found[way].times_s) if way in found else "" for way in ("data", "data_then_model")]
        rows.append((marked(f"{points.of(sweep)[0].run.threads} cores", sweep == "simulated"), *times))
    header = ("machine", "data, s", "data_then_model, s")
    return "\n\n".join([table(header, rows), source(records.read("straggler_timeline"))])
