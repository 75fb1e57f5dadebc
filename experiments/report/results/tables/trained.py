"""Generates the table of networks that were trained and pruned here."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.figures.base.direct_calls import OURS, Answer, answers_of
from experiments.figures.trained_networks import BENCHMARK, Network, networks_of, trained_on
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.markdown import interval, number, paragraph, source, table

DETAILED = 0.9
"""Sparsity at which each library's times are shown, where networks of several were measured."""


def trained_networks(records: CommittedRecords) -> str:
    """Return what each network is right about and its times, then those of all contestants for each batch."""
    points = records.points(BENCHMARK)
    answers, left_out = answers_of(points, BENCHMARK)
    networks = networks_of(points)
    detailed = [answer for answer in answers if answer.sparsity == DETAILED and ", " not in answer.family]
    tables = [_libraries(detailed or answers)]
    if len(networks) > len({one["network"] for one in networks}):
        tables = [_networks(networks, answers), f"At {100 * DETAILED:g} % zeros:", *tables]
    said = " ".join(f"{line[0].upper()}{line[1:]}." for line in (trained_on(points), *left_out))
    return "\n\n".join([*tables, paragraph(said), source(records.read(BENCHMARK))])


def _networks(networks: Sequence[Network], answers: Sequence[Answer]) -> str:
    """Return a line for each network at each sparsity: right answers, then by batch our time, and the best library's by it."""
    batches = sorted({answer.batch for answer in answers})
    found = {(answer.family, answer.sparsity, answer.batch): answer for answer in answers}
    header = ("network", "pruned by", "zeros", "right", *(f"{batch:,}: ours, us; best / ours" for batch in batches))
    rows = []
    for one in networks:
        own = [found.get((one["family"], one["sparsity"], batch)) for batch in batches]
        cells = ["" if answer is None else _best_beside(answer) for answer in own]
        right = f"{100 * one['correct'] / one['of']:.2f} %"
        rows.append((one["network"], one["pruning"], f"{100 * one['sparsity']:.3g} %", right, *cells))
    return table(header, rows, n_left=2)


def _libraries(answers: Sequence[Answer]) -> str:
    """Return our time and each library's, for each network and batch."""
    peers = [name for name in dict.fromkeys(name for answer in answers for name in answer.seconds) if name != OURS]
    header = ("network", "zeros", "instances", "ours, us", *(f"{name}, us; / ours" for name in peers))
    rows = [
        (
            answer.family,
            f"{100 * answer.sparsity:.3g} %",
            f"{answer.batch:,}",
            number(1e6 * answer.middle(OURS), 3),
            *(_beside(answer, name) for name in peers),
        )
        for answer in answers
    ]
    return table(header, rows)


def _best_beside(answer: Answer) -> str:
    """Return our time, and the fastest library's over it with its 95 % interval."""
    ours, best = number(1e6 * answer.middle(OURS), 3), answer.best()
    return ours if best is None else f"{ours}; {interval(answer.ratio(best))}"


def _beside(answer: Answer, name: str) -> str:
    """Return a library's time, and that time over ours with its 95 % interval."""
    if name not in answer.seconds:
        return ""
    return f"{number(1e6 * answer.middle(name), 3)}; {interval(answer.ratio(name))}"
