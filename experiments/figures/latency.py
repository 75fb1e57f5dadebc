"""Draws how long calls of small batches take: ours and other libraries', with the 99th percentile."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from rich.console import Group
from rich.text import Text

from experiments.figures.base import style
from experiments.figures.base.direct_calls import IDLE, OURS, Answer, answers_of, data_of, table_of
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Points


def draw(points: Points) -> Drawing:
    """Draw a panel for each network, a line for each contestant, with the most threads; the table has all."""
    answers, left_out = answers_of(points, "latency")
    most = max((answer.threads or 0 for answer in answers), default=0)
    shown = [answer for answer in answers if (answer.threads or 0) == most]
    kinds = list(dict.fromkeys((answer.family, answer.sparsity) for answer in shown))
    figure = style.new_figure(1.5 + 3.8 * len(kinds), 4.6)
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        _draw_times(axes, [answer for answer in shown if (answer.family, answer.sparsity) == kind])
        axes.set_title(f"{kind[0]}, {100 * kind[1]:g} % zeros")
    panels[0].set_ylabel("time of a call in us (logarithmic)")
    n_rounds = min(answer.n_rounds(OURS) for answer in answers)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    style.entitle(figure, "Calls of small batches", points, f"medians of {n_rounds} rounds; bars end at the 99th percentile")
    idle = [IDLE] if all(IDLE in answer.seconds[OURS] for answer in answers) else []
    table = table_of(answers, ("p50", "p95", "p99", *idle))
    return Drawing(figure, data_of(points, answers), Group(table, *(Text(line) for line in left_out)))


def _draw_times(axes: Axes, answers: Sequence[Answer]) -> None:
    for number, name in enumerate(dict.fromkeys(name for answer in answers for name in answer.seconds)):
        some = [answer for answer in answers if name in answer.seconds]
        middles = [1e6 * answer.middle(name) for answer in some]
        above = [max(1e6 * answer.middle(name, "p99") - middle, 0) for answer, middle in zip(some, middles, strict=True)]
        spread = [[0.0] * len(some), above]
        axes.errorbar([a.batch for a in some], middles, yerr=spread, capsize=2, **style.series(name, number, simulated=False))
    style.logarithmic(axes, "x")
    style.logarithmic(axes, "y")
    axes.set_xlabel("instances of a call (logarithmic)")
