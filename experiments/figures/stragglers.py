"""Draws what stragglers cost each scheduler: times with one over times without, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import pandas as pd
from matplotlib.axes import Axes
from rich.markup import escape
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.bars import asked_scheduler, network
from experiments.figures.base.drawing import Drawing
from experiments.records.point import BURNER, Disturbance
from experiments.records.read import Point, Points, frame
from experiments.records.statistics import ratios_in_turn

ALIVE_FIRST = "alive_first"
FINEST = "at best"
"""What a bound is called that nothing can beat which has as many cores."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A point, and how many times as long it takes as the undisturbed one does.

    Attributes
    ----------
    point : Point
    straggler : str or None
        What the straggler is; None for an undisturbed point.
    ratios : list of float
        Seconds of the point over those of the undisturbed one of the same job and scheduler, for each round that has both.
    """

    point: Point
    straggler: str | None
    ratios: list[float]

    @property
    def shares(self) -> list[float]:
        """The shares of a core, or of the time of a process, that the straggler lost, of each repeat."""
        found = (record.disturbance for record in self.point.records)
        return [share for disturbance in found if disturbance is not None for share in disturbance.shares]

    @property
    def at_best(self) -> float:
        """The ratio where all that is left of the cores is used to the end."""
        cores = self.point.run.processes * self.point.run.threads
        return cores / (cores - (median(self.shares) if self.shares else 0))


def straggler(point: Point) -> str | None:
    """Say what the straggler of a point is."""
    disturbance: Disturbance | None = point.record.disturbance
    if disturbance is not None:
        if disturbance.kind == BURNER:
            return f"burner at nice {disturbance.nice}"
        return f"stopped for {100 * (disturbance.asked or 0):g} % (SIGSTOP)"
    return "alive rows first" if point.run.row_order == ALIVE_FIRST else None


def job(point: Point) -> str:
    """Name a point's network, instances and kernel."""
    return f"{network(point)}, {point.run.instances:,} instances, {point.run.kernel}"


def losses(points: Sequence[Point]) -> list[Loss]:
    """Compare each point with the undisturbed one of its sweep, job and scheduler; in the order of `points`."""
    undisturbed = {_kind(point): point for point in points if straggler(point) is None}
    found = []
    for point in points:
        name, base = straggler(point), undisturbed.get(_kind(point))
        ratios = [] if name is None or base is None else [1 / ratio for ratio in ratios_in_turn(base, point)]
        found.append(Loss(point, name, ratios))
    return found


def _kind(point: Point) -> tuple[str, str, str]:
    return point.sweep, job(point), asked_scheduler(point)


def draw(points: Points) -> Drawing:
    """Draw a panel for each kind of straggler and job, with groups of bars by scheduler."""
    found = losses(points.points)
    panels: dict[tuple[str, str], list[Loss]] = {}
    for loss in found:
        if loss.ratios:
            panels.setdefault((loss.point.sweep, job(loss.point)), []).append(loss)
    if not panels:
        raise ConfigError(f"experiment {points.name}: none of its points has an undisturbed one of the same round beside it")
    figure = style.new_figure(10.0, 1.2 + 2.3 * len(panels))
    shown = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, ((sweep, name), some) in zip(shown, panels.items(), strict=True):
        _draw(axes, some)
        axes.set_title(f"{sweep}: {name}", size=9)
    what = "ratios round by round: medians, lines from smallest to largest; black: all that is left of the cores in use"
    style.entitle(figure, "What stragglers cost", points, what)
    return Drawing(figure, _data(found), _table(found))


def _draw(axes: Axes, losses: Sequence[Loss]) -> None:
    schedulers = list(dict.fromkeys(asked_scheduler(loss.point) for loss in losses))
    kinds = list(dict.fromkeys(loss.straggler for loss in losses))
    width = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        some = [loss for loss in losses if loss.straggler == kind]
        at = [schedulers.index(asked_scheduler(loss.point)) + (number - (len(kinds) - 1) / 2) * width for loss in some]
        middles = [median(loss.ratios) for loss in some]
        spread = [[m - min(loss.ratios) for m, loss in zip(middles, some, strict=True)],
                  [max(loss.ratios) - m for m, loss in zip(middles, some, strict=True)]]  # fmt: skip
        axes.bar(at, middles, width=0.9 * width, label=kind, **style.bar(number, simulated=False))
        axes.errorbar(at, middles, yerr=spread, fmt="none", color="black", capsize=2, linewidth=0.8)
        axes.hlines([loss.at_best for loss in some], [x - width / 2 for x in at], [x + width / 2 for x in at], color="black")
    axes.axhline(1, color=style.GREY, linestyle=":")
    axes.set_xticks(range(len(schedulers)), schedulers, fontsize=8)
    axes.set_ylabel("slowed / undisturbed")
    axes.grid(visible=False, axis="x")
    axes.legend(fontsize=8, ncols=len(kinds), loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)


def _data(found: Sequence[Loss]) -> pd.DataFrame:
    data = frame(loss.point for loss in found)
    data["asked_scheduler"] = [asked_scheduler(loss.point) for loss in found]
    data["straggler"] = [loss.straggler for loss in found]
    for name, of in (("share", "shares"), ("loss", "ratios")):
        values: list[list[float]] = [getattr(loss, of) for loss in found]
        data[name] = [median(some) if some else None for some in values]
        data[f"{name}_min"] = [min(some, default=None) for some in values]
        data[f"{name}_max"] = [max(some, default=None) for some in values]
    data["loss_at_best"] = [None if loss.straggler is None else loss.at_best for loss in found]
    data["rounds"] = [len(loss.ratios) for loss in found]
    return data


def _table(found: Sequence[Loss]) -> Table:
    table = Table(title="What stragglers cost: medians (smallest to largest); slowed / undisturbed round by round")
    left = ("straggler", "job", "scheduler")
    for name in (*left, "share taken, %", "inference s", "slowed / undisturbed", FINEST, "rounds"):
        table.add_column(name, justify="left" if name in left else "right")
    before = ("", "")
    for loss in sorted((loss for loss in found if loss.ratios), key=lambda loss: _order(loss, found)):
        place = str(loss.straggler), job(loss.point)
        if place != before:
            table.add_section()
        head = ("", "") if place == before else (escape(place[0]), escape(place[1]))
        before = place
        shares = _of([100 * share for share in loss.shares], "{:.0f}") if loss.shares else ""
        seconds, best = style.time_text(loss.point.median_s), f"{loss.at_best:.2f}"
        table.add_row(
            *head, asked_scheduler(loss.point), shares, seconds, _of(loss.ratios, "{:.2f}"), best, str(len(loss.ratios))
        )
    return table


def _order(loss: Loss, found: Sequence[Loss]) -> tuple[int, int]:
    """Place all schedulers with one straggler and job one below the other, in the order in which they were run."""
    alike = [(one.point.sweep, one.straggler, job(one.point)) for one in found]
    return alike.index((loss.point.sweep, loss.straggler, job(loss.point))), found.index(loss)


def _of(values: Sequence[float], form: str) -> str:
    return f"{form.format(median(values))} ({form.format(min(values))} to {form.format(max(values))})"
