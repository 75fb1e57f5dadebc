"""Generates the table of networks that were trained and pruned here."""

from __future__ import annotations

from experiments.figures.base.direct_calls import OURS, Answer, answers_of
from experiments.figures.trained_networks import BENCHMARK, networks_of, trained_on
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.markdown import interval, number, paragraph, source, table


def trained_networks(records: CommittedRecords) -> str:
    """Return what each network is right about, and the times of all contestants for each batch."""
    points = records.points(BENCHMARK)
    answers, left_out = answers_of(points, BENCHMARK)
    right = {(one["family"], one["sparsity"]): one["correct"] / one["of"] for one in networks_of(points)}
    peers = [name for name in dict.fromkeys(name for answer in answers for name in answer.seconds) if name != OURS]
    header = ("network", "zeros", "right", "instances", "ours, us", *(f"{name}, us; / ours" for name in peers))
    rows = [
        (
            answer.family,
            f"{100 * answer.sparsity:g} %",
            f"{100 * right[answer.family, answer.sparsity]:.2f} %",
            f"{answer.batch:,}",
            number(1e6 * answer.middle(OURS), 3),
            *(_beside(answer, name) for name in peers),
        )
        for answer in answers
    ]
    said = " ".join(f"{line[0].upper()}{line[1:]}." for line in (trained_on(points), *left_out))
    return "\n\n".join([table(header, rows), paragraph(said), source(records.read(BENCHMARK))])


def _beside(answer: Answer, name: str) -> str:
    """Return a library's time, and that time over ours with its 95 % interval."""
    if name not in answer.seconds:
        return ""
    return f"{number(1e6 * answer.middle(name), 3)}; {interval(answer.ratio(name))}"
