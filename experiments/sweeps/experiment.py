"""Runs an experiment: every point through the ordinary run path, then the table and the figure from their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from hydra import compose
from omegaconf import DictConfig
from rich.console import Console

from experiments import figures
from experiments.config.resolve import ConfigError, resolve
from experiments.config.schema import Executor, ExperimentConfig
from experiments.launch.point import run_point
from experiments.launch.requirements import missing_package
from experiments.launch.resume import is_complete
from experiments.launch.without_running import Elsewhere
from experiments.records.files import RESULT
from experiments.records.point import DRY_RUN, FAILED, SUBMITTED, PointOfExperiment, PointRecord
from experiments.records.statistics import WIDTH
from experiments.run.display import Display, sweep_table, time_left
from experiments.run.measure import exit_status
from experiments.sweeps import benchmarks
from experiments.sweeps.points import PlannedPoint, plan
from sparsednn.comm import Communicator
from sparsednn.engine import default_threads

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
    elsewhere : Elsewhere
        Has the records of points that need no run.
    comm : Communicator, optional
        The processes that an MPI launcher has started.
    """

    def __init__(
        self, experiment: ExperimentConfig, folder: Path, given: list[str], console: Console, complain: Callable[[str], None],
        elsewhere: Elsewhere,
        comm: Communicator | None = None,
    ) -> None:  # fmt: skip
        self.experiment = experiment
        self.folder = folder
        self.given = given
        self.console = console
        self.complain = complain
        self.elsewhere = elsewhere
        self.comm = comm

    def run(self) -> int:
        """Run all points, going on past failed ones, and draw; return the exit status.

        Raises
        ------
        ConfigError, hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException
            Before anything is run, if the experiment or the user's overrides cannot be used.
        """
        figures.require(self.experiment.figure, "experiment.figure")
        points = plan(self.experiment, self.given, default_threads())
        if self.experiment.benchmark:
            benchmarks.require(self.experiment, points[0].overrides)
        composed = [compose(CONFIG_NAME, overrides=["experiment=none", *point.overrides]) for point in points]
        self._refuse_what_no_point_can_run(composed)
        points, composed = self._in_turn(*self._that_can_be_run(points, composed))
        self._refuse_other_records(points, composed)
        records = self._run_points(points, composed)
        if not self.experiment.benchmark:
            self.console.print(sweep_table(records))
        failed = [(number, record) for number, record in enumerate(records) if record.status == FAILED]
        if failed:
            lines = [f"{len(failed)} of {len(records)} points failed:"]
            self.complain("\n  ".join(lines + [f"{self.folder / str(n)}: {record.error}" for n, record in failed]))
        status = max((exit_status(record) for record in records), default=0)
        statuses = {record.status for record in records}
        if SUBMITTED in statuses:
            command = f"python -m experiments.figures {self.experiment.figure} {self.folder}"
            Display(self.console).say(f"figure: when the jobs are done, {command}")
        if statuses & {SUBMITTED, DRY_RUN}:
            return status
        return status if self._draw() else max(status, 1)

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

    def _that_can_be_run(
        self, points: list[PlannedPoint], composed: list[DictConfig]
    ) -> tuple[list[PlannedPoint], list[DictConfig]]:  # fmt: skip
        """Leave out what is optional and needs a package that is not installed, with a word for each reason."""
        missing = [missing_package(cfg) if point.optional else None for point, cfg in zip(points, composed, strict=True)]
        for reason, n_points in Counter(filter(None, missing)).items():
            Display(self.console).say(f"left out: {n_points} of {len(points)} points: {reason}")
        kept = [number for number, reason in enumerate(missing) if reason is None]
        return [points[number] for number in kept], [composed[number] for number in kept]

    def _in_turn(
        self, points: list[PlannedPoint], composed: list[DictConfig]
    ) -> tuple[list[PlannedPoint], list[DictConfig]]:  # fmt: skip
        """All points, then in further rounds those that are measured: what is simulated is the same in each."""
        again = [number for number, cfg in enumerate(composed) if cfg.executor is not Executor.simulated]
        order = [*range(len(points)), *again * (self.experiment.rounds - 1)]
        return [points[number] for number in order], [composed[number] for number in order]

    def _refuse_other_records(self, points: list[PlannedPoint], composed: list[DictConfig]) -> None:
        """Nothing is overwritten: what is complete in the folder must be what its point would take with resume=true."""
        mine = {self.folder / str(number): number for number in range(len(points))}
        for path in self.folder.rglob(RESULT):
            number = mine.get(path.parent)
            if number is None or not composed[number].resume or not self._is_mine(path, number, points, composed):
                raise ConfigError(f"{self.folder}: has records of another run; choose another folder with hydra.run.dir=FOLDER")

    def _is_mine(self, path: Path, number: int, points: list[PlannedPoint], composed: list[DictConfig]) -> bool:
        """Whether a record in a point's folder is not complete, or the one that the point takes."""
        try:
            config = resolve(composed[number])
        except ConfigError:
            return not is_complete(path)
        found = self.elsewhere.find(config, path.parent, self._about(number, points[number]), self.experiment)
        return not is_complete(path) or (found is not None and found[0] == path.resolve())

    def _run_points(self, points: list[PlannedPoint], composed: list[DictConfig]) -> list[PointRecord]:
        display, started_at, records = Display(self.console), monotonic(), []
        benchmark = partial(benchmarks.measure, self.experiment) if self.experiment.benchmark else None
        for number, (point, cfg) in enumerate(zip(points, composed, strict=True)):
            done = f"experiment {self.experiment.name}, point {number + 1} of {len(points)}: {point.sweep} / {point.label}"
            display.say(f"{done}{time_left(monotonic() - started_at, number, len(points))}")
            folder = self.folder / str(number)
            folder.mkdir(exist_ok=True)
            about = self._about(number, point)
            again, overrides = partial(resolve, cfg), list(point.overrides)
            found = self.elsewhere.record(again, folder, overrides, about, self.experiment)
            record = found or run_point(again, folder, overrides, self.console, about, benchmark, self.comm)
            records.append(record)
            if record.status == FAILED:
                self.complain(f"{record.error} (record: {folder / RESULT})")
        return records

    def _about(self, number: int, point: PlannedPoint) -> PointOfExperiment:
        """Return what a record says of its experiment: all that a figure needs to know."""
        experiment = self.experiment
        return PointOfExperiment(
            name=experiment.name,
            figure=experiment.figure,
            toy=experiment.toy,
            same_categories=experiment.same_categories,
            sweep=point.sweep,
            point=point.label,
            number=number,
        )

    def _draw(self) -> bool:
        """Draw the figure from the records in the folder; return whether that could be done."""
        display, name = Display(self.console), self.experiment.figure
        try:
            paths, table = figures.redraw(name, [self.folder], self.folder, display.say)
        except ConfigError as error:
            self.complain(str(error))
            return False
        # A table is cut off where the console is too narrow for it; lines that are broken can still be read.
        Console(file=self.console.file, width=max(self.console.width, WIDTH)).print(table)
        display.say(f"figure: {', '.join(str(path) for path in paths)}")
        return True
