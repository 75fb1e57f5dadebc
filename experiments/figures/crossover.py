"""Draws where pruning pays: how many times as fast as dense layers, and as other sparse libraries, by sparsity and batch."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from rich.console import Group
from rich.text import Text

from experiments.figures.base import style
from experiments.figures.base.direct_calls import CHALLENGE, OURS, Answer, answers_of, data_of, table_of
from experiments.figures.base.drawing import Drawing
from experiments.records.read import Points


def draw(points: Points) -> Drawing:
    """Draw a panel for dense and one for sparse libraries, a line for each sparsity; the table has the challenge's too."""
    answers, left_out = answers_of(points, "crossover")
    figure = style.new_figure(11.0, 4.6)
    grid = [answer for answer in answers if answer.family != CHALLENGE]
    for axes, dense in zip(figure.subplots(1, 2, sharey=True), (True, False), strict=True):
        _draw_ratios(axes, grid, dense=dense)
    n_rounds = min(answer.n_rounds(OURS) for answer in answers)
    shown = figure.axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper right", ncols=5, title="weights that are zero")
    style.entitle(figure, "Where pruning pays", points, f"whole calls, medians of {n_rounds} rounds, 95 % intervals")
    lines = [*verdicts(answers), *left_out]
    return Drawing(figure, data_of(points, answers), Group(table_of(answers), *(Text(line) for line in lines)))


def verdicts(answers: Sequence[Answer]) -> list[str]:
    """Say where a library is faster than ours; or that none is, and in how many settings there was one to compare with."""
    lines = []
    for answer in answers:
        best = answer.best()
        if best is not None and (ratio := answer.ratio(best))[0] < 1:
            surely = "faster" if ratio[2] < 1 else "perhaps faster"
            figures = "{:.2f} ({:.2f} to {:.2f})".format(*ratio)
            at = f"{answer.family}, {100 * answer.sparsity:g} % zeros, {answer.batch:,} instance{'s' * (answer.batch > 1)}"
            lines.append(f"{at}: {best} is {surely}: its time is {figures} of ours")
    timed, n = sum(answer.best() is not None for answer in answers), len(answers)
    where = "all settings" if timed == n else f"{timed} of {n} settings, those that others have answered too,"
    return lines or [f"In {where} no library is faster than ours."]


def _draw_ratios(axes: Axes, answers: Sequence[Answer], *, dense: bool) -> None:
    for number, sparsity in enumerate(sorted({answer.sparsity for answer in answers})):
        some = [answer for answer in answers if answer.sparsity == sparsity and answer.best(dense) is not None]
        ratios = [answer.ratio(answer.best(dense) or "") for answer in some]
        middles = [middle for middle, _, _ in ratios]
        spread = [[middle - low for middle, low, _ in ratios], [high - middle for middle, _, high in ratios]]
        look = style.series(f"{100 * sparsity:g} %", number, simulated=False)
        axes.errorbar([answer.batch for answer in some], middles, yerr=spread, capsize=3, **look)
    axes.axhline(1, color=style.GREY, linestyle=":")
    style.logarithmic(axes, "x")
    style.logarithmic(axes, "y")
    axes.set_xlabel("instances of a call (logarithmic)")
    axes.set_ylabel("library / ours (above 1: ours is faster)" if dense else "")
    axes.set_title("best library with dense layers" if dense else "best library with sparse layers")
