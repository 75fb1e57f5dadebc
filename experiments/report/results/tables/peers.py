"""Generates the tables of other libraries."""

from __future__ import annotations

from statistics import median

from experiments.figures.base.direct_calls import IDLE, answers_of, have_threads
from experiments.figures.base.direct_calls import OURS as CALLED
from experiments.figures.crossover import verdicts
from experiments.figures.peers import OURS, best_library, ratio_to_ours
from experiments.figures.random_networks import BENCHMARK, ContestOutcome, outcomes_of
from experiments.records.point import benchmark_figures
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.markdown import interval, network, number, paragraph, seconds, source, table


def challenge_network(records: CommittedRecords) -> str:
    """Return the times of every library for the challenge's network."""
    return _libraries(records, "peers")


def few_instances(records: CommittedRecords) -> str:
    """Return the times of every library for a few instances."""
    return _libraries(records, "few_instances")


def _libraries(records: CommittedRecords, name: str) -> str:
    points = records.points(name)
    library, rows = best_library(points), []
    for point in points.points:
        ratio = interval(ratio_to_ours(point, library)) if point.sweep == OURS else ""
        rows.append((point.label, f"{point.run.backend} {point.run.kernel}", seconds(point.times_s), ratio))
    first = points.points[0]
    best = "best library" if library is None else f"best library ({library.label})"
    header = ("program", "backend and kernel", "seconds", f"{best} / this")
    job = f"{network(first)}, {first.run.instances:,} instances, {first.run.threads} threads:"
    return "\n\n".join([job, table(header, rows, n_left=2), source(records.read(name))])


def random_networks(records: CommittedRecords) -> str:
    """Return how many times as fast as the best library this project is on each random network."""
    points = records.points(BENCHMARK)
    found = [figures for record in points.records if (figures := benchmark_figures(record, BENCHMARK)) is not None]
    outcomes = outcomes_of(found)
    ours = outcomes[0].ours
    header = (
        "network",
        "instances",
        *(f"{name}, ms" for name in ours),
        "best library",
        "ms",
        *(f"it / {name}" for name in ours),
    )
    parts = [table(header, [_contest(outcome) for outcome in outcomes]), paragraph(_range(outcomes))]
    if found[0]["left_out"]:
        parts.append(paragraph(f"Left out: {'; '.join(found[0]['left_out'])}."))
    return "\n\n".join([*parts, source(records.read(BENCHMARK))])


def latency(records: CommittedRecords) -> str:
    """Return what direct calls of small batches take, and the best library's time over ours."""
    return _direct_calls(records, "latency", tail=True)


def crossover(records: CommittedRecords) -> str:
    """Return what direct calls take by sparsity and batch, and where a library is faster."""
    answers, _ = answers_of(records.points("crossover"), "crossover")
    said = "\n".join(f"- {line}" for line in verdicts(answers))
    return f"{_direct_calls(records, 'crossover', tail=False)}\n\n{said}"


def _direct_calls(records: CommittedRecords, name: str, *, tail: bool) -> str:
    answers, left_out = answers_of(records.points(name), name)
    names = [name for name in dict.fromkeys(name for answer in answers for name in answer.seconds) if name != CALLED]
    idle, threads = tail and all(IDLE in answer.seconds[CALLED] for answer in answers), have_threads(answers)
    ours = ("ours, us", *(["ours, 99 %"] if tail else []), *(["ours after 10 ms"] if idle else []))
    header = (
        "network",
        "zeros",
        "instances",
        *(["threads"] if threads else []),
        *ours,
        *(f"{name}, us" for name in names),
        "best / ours",
    )
    rows = [
        (
            answer.family,
            f"{100 * answer.sparsity:g} %",
            f"{answer.batch:,}",
            *([f"{answer.threads}"] if threads else []),
            number(1e6 * answer.middle(CALLED), 3),
            *([number(1e6 * answer.middle(CALLED, "p99"), 3)] if tail else []),
            *([number(1e6 * answer.middle(CALLED, IDLE), 3)] if idle else []),
            *(number(1e6 * answer.middle(name), 3) if name in answer.seconds else "" for name in names),
            "" if (best := answer.best()) is None else interval(answer.ratio(best)),
        )
        for answer in answers
    ]
    parts = [table(header, rows), *([paragraph(f"{'; '.join(left_out)}.")] if left_out else [])]
    return "\n\n".join([*parts, source(records.read(name))])


def _contest(outcome: ContestOutcome) -> tuple[str, ...]:
    best = outcome.best_peer()
    return (
        outcome.name,
        f"{outcome.instances:,}",
        *(number(1e3 * median(outcome.seconds[name]), 3) for name in outcome.ours),
        best,
        number(1e3 * median(outcome.seconds[best]), 3),
        *(interval(outcome.ratio(name)) for name in outcome.ours),
    )


def _range(outcomes: list[ContestOutcome]) -> str:
    """Say from where to where the ratios go, and where ours is not faster."""
    ours = outcomes[0].ours[0]
    ratios = {outcome.name: outcome.ratio(ours) for outcome in outcomes}
    middles = [middle for middle, _, _ in ratios.values()]
    level = [name for name, (_, low, _) in ratios.items() if low <= 1]
    said = f"{ours}: {min(middles):.2f} to {max(middles):.2f} times as fast as the best library on {len(outcomes)} networks"
    return f"{said}; not shown to be faster (95 %) on: {', '.join(level)}." if level else f"{said}, and faster on each (95 %)."
