"""Runs an experiment: every point through the ordinary run path, then the table and the figure from their records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from hydra import compose
from omegaconf import DictConfig
from rich.console import Console

from experiments import benchmarks, figures
from experiments.bench import WIDTH
from experiments.display import Display, sweep_table
from experiments.launch import RESULT, run_point
from experiments.planning import PlannedPoint, plan
from experiments.style import time_text
from sparsednn.config import ConfigError, resolve
from sparsednn.schema import ExperimentConfig

CONFIG_NAME = "config"


class ExperimentRun:
    """One experiment in a folder of its own: each point in a numbered one below it, the figure beside them.

    It composes with Hydra's current configuration sources, so Hydra has to be initialised.

    Parameters
    ----------
    experiment : ExperimentConfig
    folder : Path
        Is there.
    given : list of str
        The user's own overrides.
    console : rich.console.Console
    complain : callable
        Is told each error in one line.
    """

    def __init__(
        self, experiment: ExperimentConfig, folder: Path, given: list[str], console: Console, complain: Callable[[str], None]
    ) -> None:
        self.experiment = experiment
        self.folder = folder
        self.given = given
        self.console = console
        self.complain = complain

    def run(self) -> bool:
        """Run all points, going on past failed ones, and draw; return whether everything went well.

        Raises
        ------
        ConfigError, hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException
            Before anything is run, if the experiment or the user's overrides cannot be used.
        """
        figures.require(self.experiment.figure, "experiment.figure")
        if any(self.folder.rglob(RESULT)):
            raise ConfigError(f"{self.folder}: has records of another run; choose another folder with hydra.run.dir=FOLDER")
        points = plan(self.experiment, self.given)
        if self.experiment.benchmark:
            benchmarks.require(self.experiment, points[0].overrides)
        composed = [compose(CONFIG_NAME, overrides=["experiment=none", *point.overrides]) for point in points]
        self._refuse_what_no_point_can_run(composed)
        rounds = self.experiment.rounds
        records = self._run_points(points * rounds, composed * rounds)
        if not self.experiment.benchmark:
            self.console.print(sweep_table(records))
        failed = [(number, record) for number, record in enumerate(records) if record["status"] != "complete"]
        if failed:
            lines = [f"{len(failed)} of {len(records)} points failed:"]
            self.complain("\n  ".join(lines + [f"{self.folder / str(n)}: {record['error']}" for n, record in failed]))
        return self._draw() and not failed

    def _refuse_what_no_point_can_run(self, composed: list[DictConfig]) -> None:
        """A user's mistake is one error, not one for each point; a point that only cannot be run by itself is a failed one."""
        errors = []
        for cfg in composed:
            try:
                resolve(cfg)
            except ConfigError as error:
                errors.append(error)
        if len(errors) == len(composed):
            raise errors[0]

    def _run_points(self, points: list[PlannedPoint], composed: list[DictConfig]) -> list[dict[str, Any]]:
        display, started_at, records = Display(self.console), monotonic(), []
        benchmark = partial(benchmarks.measure, self.experiment) if self.experiment.benchmark else None
        for number, (point, cfg) in enumerate(zip(points, composed, strict=True)):
            done = f"experiment {self.experiment.name}, point {number + 1} of {len(points)}: {point.sweep} / {point.label}"
            display.say(f"{done}{_time_left(monotonic() - started_at, number, len(points))}")
            folder = self.folder / str(number)
            folder.mkdir(exist_ok=True)
            about = self._about(number, point)
            record = run_point(partial(resolve, cfg), folder, list(point.overrides), self.console, about, benchmark)
            records.append(record)
            if record["status"] != "complete":
                self.complain(f"{record['error']} (record: {folder / RESULT})")
        return records

    def _about(self, number: int, point: PlannedPoint) -> dict[str, Any]:
        """Return what a record says of its experiment: all that a figure needs to know."""
        experiment = self.experiment
        about = {
            "name": experiment.name,
            "figure": experiment.figure,
            "toy": experiment.toy,
            "same_categories": experiment.same_categories,
            "sweep": point.sweep,
            "point": point.label,
            "number": number,
        }
        return {"experiment": about}

    def _draw(self) -> bool:
        """Draw the figure from the records in the folder; return whether that could be done."""
        display, name = Display(self.console), self.experiment.figure
        try:
            paths, table = figures.redraw(name, [self.folder], self.folder)
        except ConfigError as error:
            self.complain(str(error))
            return False
        # A table is cut off where the console is too narrow for it; lines that are broken can still be read.
        Console(file=self.console.file, width=max(self.console.width, WIDTH)).print(table)
        display.say(f"figure: {', '.join(str(path) for path in paths)}")
        return True


def _time_left(elapsed_s: float, n_done: int, n_points: int) -> str:
    """Say how long the rest takes if its points take as long as those before."""
    if n_done == 0:
        return ""
    return f" ({time_text(elapsed_s)} so far, about {time_text(elapsed_s / n_done * (n_points - n_done))} left)"
