"""Draws what pruning costs and brings: accuracy and time of inference against sparsity, by network and batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter
from rich.console import Group
from rich.table import Table
from rich.text import Text

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.direct_calls import OURS, Answer, answers_of, data_of, table_of
from experiments.figures.base.drawing import Drawing
from experiments.records.point import benchmark_figures
from experiments.records.read import Points
from sparsednn.importers.accuracy import accuracy_interval

BENCHMARK = "trained_networks"
SEVERAL_STEPS = "X"
"""Marks networks that were pruned in two steps."""

Network = Mapping[str, Any]


def draw(points: Points) -> Drawing:
    """Draw a column for each network: its accuracy, and below it the times of all contestants for each batch."""
    answers, left_out = answers_of(points, BENCHMARK)
    networks = networks_of(points)
    names, batches = list(dict.fromkeys(one["network"] for one in networks)), sorted({answer.batch for answer in answers})
    figure = style.new_figure(4.0 + 2.8 * len(names), 1.5 + 2.2 * (1 + len(batches)))
    grid = figure.subplots(1 + len(batches), len(names), sharex="col", sharey="row", squeeze=False)
    for column, name in zip(grid.T, names, strict=True):
        own = [one for one in networks if one["network"] == name]
        _draw_accuracies(column[0], own)
        column[0].set_title(name)
        for axes, batch in zip(column[1:], batches, strict=True):
            _draw_times(axes, own, [answer for answer in answers if answer.batch == batch])
            axes.set_ylabel(f"{batch:,} instances (us)" if name == names[0] else "")
        column[-1].set_xlabel("weights that are not zero (%)")
    grid[0, 0].set_ylabel("accuracy (%)")
    figure.legend(*grid[-1, 0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    n_rounds = min(answer.n_rounds(OURS) for answer in answers)
    shown = f"crosses: pruned in two steps; accuracy with its 95 % interval; whole calls, medians of {n_rounds} rounds"
    style.entitle(figure, "Pruned networks", points, shown)
    data = data_of(points, answers)
    shares = {(one["family"], one["sparsity"]): one["correct"] / one["of"] for one in networks}
    data["accuracy"] = [shares[name, at] for name, at in zip(data["network"], data["sparsity"], strict=True)]
    lines = [trained_on(points), *left_out]
    return Drawing(figure, data, Group(accuracies(networks), table_of(answers), *(Text(line) for line in lines)))


def networks_of(points: Points) -> Sequence[Network]:
    """Return the networks of all records, which must be the same.

    Raises
    ------
    ConfigError
        If other networks were trained for one than for the other.
    """
    first, *others = [figures["networks"] for record in points.records if (figures := benchmark_figures(record, BENCHMARK))]
    keys = ("family", "sparsity", "nonzero_weights", "correct", "of")
    for other in others:
        if [[one[key] for key in keys] for one in first] != [[one[key] for key in keys] for one in other]:
            raise ConfigError(f"experiment {points.name}: its records are of networks that were trained differently")
    found: Sequence[Network] = first
    return found


def trained_on(points: Points) -> str:
    """Say what the networks were trained on, and how."""
    figures = benchmark_figures(points.records[0], BENCHMARK) or {}
    data, training = figures["data"], figures["training"]
    own = {one["network"]: one.get("recipe", "") for one in figures["networks"]}  # records of before have none
    plain = f"learning rate {training['learning_rate']:g}"
    others = "".join(f"; {name}: {recipe}" for name, recipe in own.items() if recipe not in ("", plain))
    return (
        f"trained on {data['training']:,} instances of {data['name']} or fewer, tested with {data['test']:,}; "
        f"{training['optimizer']}, {plain}, batches of {training['batch']}, "
        f"seed {training['seed']}, PyTorch {training['torch']}{others}"
    )


def accuracies(networks: Sequence[Network]) -> Table:
    """Return what each network is right about, and what became of its weights."""
    table = Table(title="Accuracy, and logits beside those of PyTorch")
    counted = ("zeros", "weights", "connections", "layers", "instances x epochs", "right", "PyTorch", "difference")
    for name in ("network", *counted):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for one in networks:
        counts = (f"{one[name]:,}" for name in ("nonzero_weights", "connections", "layers"))
        right = (f"{100 * one[name] / one['of']:.2f} %" for name in ("correct", "correct_torch"))
        passes = f"{one['instances']:,} x {one['epochs']}"
        table.add_row(one["family"], f"{100 * one['sparsity']:.2f} %", *counts, passes, *right, f"{one['difference']:.1e}")
    return table


def _left(sparsity: float) -> float:
    """Return the percentage of the weights that are not zero."""
    return 100 * (1 - sparsity)


def _draw_accuracies(axes: Axes, networks: Sequence[Network]) -> None:
    for number, several in enumerate((False, True)):
        some = [one for one in networks if _in_several_steps(one) == several]
        shares = [100 * one["correct"] / one["of"] for one in some]
        limits = [accuracy_interval(one["correct"], one["of"]) for one in some]
        below = [share - 100 * low for share, (low, _) in zip(shares, limits, strict=True)]
        above = [100 * high - share for share, (_, high) in zip(shares, limits, strict=True)]
        look = style.series("", number, simulated=False) | ({"marker": SEVERAL_STEPS, "linestyle": ""} if several else {})
        axes.errorbar([_left(one["sparsity"]) for one in some], shares, yerr=[below, above], capsize=2, **look)
    _against_sparsity(axes)


def _draw_times(axes: Axes, networks: Sequence[Network], answers: Sequence[Answer]) -> None:
    by_name = {(answer.family, answer.sparsity): answer for answer in answers}
    own = [(one, by_name[one["family"], one["sparsity"]]) for one in networks]
    for number, name in enumerate(dict.fromkeys(name for answer in answers for name in answer.seconds)):
        for several in (False, True):
            some = [answer for one, answer in own if _in_several_steps(one) == several and name in answer.seconds]
            look = style.series(name, number, simulated=False)
            look |= {"marker": SEVERAL_STEPS, "linestyle": "", "label": None} if several else {}
            axes.plot([_left(answer.sparsity) for answer in some], [1e6 * answer.middle(name) for answer in some], **look)
    style.logarithmic(axes, "y")
    _against_sparsity(axes)


def _in_several_steps(network: Network) -> bool:
    return bool(network["family"] != network["network"])


def _against_sparsity(axes: Axes) -> None:
    """Let the axis fall from all weights to few, as plain percentages."""
    axes.set_xscale("log")
    axes.set_xlim(150, 0.7)
    axes.set_xticks([100, 20, 10, 5, 1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
