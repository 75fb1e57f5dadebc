"""Runs an experiment: every point through the ordinary run path, then the table and the figure from their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from time import monotonic

from omegaconf import DictConfig
from rich.console import Console

from experiments import figures
from experiments.config.composer import Composer
from experiments.config.resolve import Config, ConfigError, resolve
from experiments.config.schema import SIMULATED, ExperimentConfig
from experiments.launch.point import run_point
from experiments.launch.requirements import missing_package
from experiments.launch.resume import is_complete
from experiments.launch.without_running import Elsewhere
from experiments.records.display import Display, time_left
from experiments.records.files import RESULT
from experiments.records.point import DRY_RUN, FAILED, SUBMITTED, PointOfExperiment, PointRecord
from experiments.records.statistics import WIDTH
from experiments.records.sweep_table import sweep_table
from experiments.run.measure import exit_status
from experiments.sweeps import benchmarks
from experiments.sweeps.points import PlannedPoint, plan
from sparsednn.comm import Communicator
from sparsednn.engine import default_threads


def lacking_cores(experiment: ExperimentConfig) -> str | None:
    """Say which cores an experiment lacks here, if it does."""
    needed, there = experiment.least_cores, default_threads()
    return f"needs {needed} cores, and this process may use {there}" if there < needed else None


@dataclass(frozen=True, slots=True)
class RunContext:
    """The context that the runs of one call of run.py share.

    Attributes
    ----------
    console : rich.console.Console
    complain : callable
        Is told each error in one line.
    elsewhere : Elsewhere
        Has the records of points that need no run.
    comm : Communicator, optional
        The processes that an MPI launcher has started.
    composer : Composer
        Composes points, and knows what it has composed before.
    """

    console: Console
    complain: Callable[[str], None]
    elsewhere: Elsewhere
    comm: Communicator | None = None
    composer: Composer = field(default_factory=Composer)

    def say(self, text: str) -> None:
        """Print a line on the console."""
        Display(self.console).say(text)


@dataclass(frozen=True)
class ComposedPoint:
    """A planned point and what Hydra has composed for it."""

    planned: PlannedPoint
    composed: DictConfig

    @cached_property
    def _resolved(self) -> Config | ConfigError:
        try:
            return resolve(self.composed)
        except ConfigError as error:
            return error

    def config(self) -> Config:
        """Return the checked configuration; it is resolved once.

        Raises
        ------
        ConfigError
        """
        if isinstance(self._resolved, ConfigError):
            raise self._resolved
        return self._resolved


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
    context : RunContext
    """

    def __init__(self, experiment: ExperimentConfig, folder: Path, given: list[str], context: RunContext) -> None:
        self.experiment, self.folder, self.given, self.context = experiment, folder, given, context

    def run(self) -> int:
        """Run all points, going on past failed ones, and draw; return the exit status.

        Raises
        ------
        ConfigError, hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException
            Before anything is run, if the experiment or the user's overrides cannot be used.
        """
        figures.require(self.experiment.figure, "experiment.figure")
        if (lacking := lacking_cores(self.experiment)) is not None:
            raise ConfigError(f"experiment={self.experiment.name}: {lacking}; run it where there are more")
        planned = plan(self.experiment, self.given, default_threads())
        if self.experiment.benchmark:
            benchmarks.require(self.experiment, planned[0].overrides)
        compose = self.context.composer.compose
        points = [ComposedPoint(point, compose(["experiment=none", *point.overrides])) for point in planned]
        self._refuse_what_no_point_can_run(points)
        points = self._in_turn(self._that_can_be_run(points))
        self._refuse_other_records(points)
        records = self._run_points(points)
        self._report(records)
        status = max((exit_status(record) for record in records), default=0)
        statuses = {record.status for record in records}
        if SUBMITTED in statuses:
            command = f"python -m experiments.figures {self.experiment.figure} {self.folder}"
            self.context.say(f"figure: when the jobs are done, {command}")
        if statuses & {SUBMITTED, DRY_RUN}:
            return status
        return status if self._draw() else max(status, 1)

    def _report(self, records: list[PointRecord]) -> None:
        """Show the table of all points, and name those that have failed."""
        if not self.experiment.benchmark:
            self.context.console.print(sweep_table(records))
        failed = [(number, record) for number, record in enumerate(records) if record.status == FAILED]
        if failed:
            lines = [f"{len(failed)} of {len(records)} points failed:"]
            lines += [f"{self.folder / str(number)}: {record.error}" for number, record in failed]
            self.context.complain("\n  ".join(lines))

    def _refuse_what_no_point_can_run(self, points: list[ComposedPoint]) -> None:
        """A user's mistake is one error, not one for each point; a point that only cannot be run by itself is a failed one."""
        errors = []
        for point in points:
            try:
                point.config()
            except ConfigError as error:
                errors.append(error)
        if len(errors) == len(points):
            raise errors[0]

    def _that_can_be_run(self, points: list[ComposedPoint]) -> list[ComposedPoint]:
        """Leave out what is optional and needs a package that is not installed, with a word for each reason."""
        missing = [missing_package(point.composed) if point.planned.optional else None for point in points]
        for reason, n_points in Counter(filter(None, missing)).items():
            self.context.say(f"left out: {n_points} of {len(points)} points: {reason}")
        return [point for point, reason in zip(points, missing, strict=True) if reason is None]

    def _in_turn(self, points: list[ComposedPoint]) -> list[ComposedPoint]:
        """All points, then in further rounds those that are measured: what is simulated is the same in each."""
        measured = [point for point in points if point.composed.executor != SIMULATED]
        return points + measured * (self.experiment.rounds - 1)

    def _refuse_other_records(self, points: list[ComposedPoint]) -> None:
        """Refuse a folder with complete records that its points would not take with resume=true: nothing is overwritten."""
        mine = {self.folder / str(number): number for number in range(len(points))}
        for path in self.folder.rglob(RESULT):
            number = mine.get(path.parent)
            if number is None or not points[number].composed.resume or not self._is_mine(path, number, points[number]):
                raise ConfigError(f"{self.folder}: has records of another run; choose another folder with hydra.run.dir=FOLDER")

    def _is_mine(self, path: Path, number: int, point: ComposedPoint) -> bool:
        """Whether a record in a point's folder is not complete, or the one that the point takes."""
        try:
            config = point.config()
        except ConfigError:
            return not is_complete(path)
        found = self.context.elsewhere.find(config, path.parent, self._about(number, point.planned), self.experiment)
        return not is_complete(path) or (found is not None and found[0] == path.resolve())

    def _run_points(self, points: list[ComposedPoint]) -> list[PointRecord]:
        context, started_at, records = self.context, monotonic(), []
        benchmark = partial(benchmarks.measure, self.experiment) if self.experiment.benchmark else None
        for number, point in enumerate(points):
            planned = point.planned
            done = f"experiment {self.experiment.name}, point {number + 1} of {len(points)}: {planned.sweep} / {planned.label}"
            context.say(f"{done}{time_left(monotonic() - started_at, number, len(points))}")
            folder = self.folder / str(number)
            folder.mkdir(exist_ok=True)
            about, overrides = self._about(number, planned), list(planned.overrides)
            found = context.elsewhere.record(point.config, folder, overrides, about, self.experiment)
            record = found or run_point(point.config, folder, overrides, context.console, about, benchmark, context.comm)
            records.append(record)
            if record.status == FAILED:
                context.complain(f"{record.error} (record: {folder / RESULT})")
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
        context, name = self.context, self.experiment.figure
        try:
            paths, table = figures.redraw(name, [self.folder], self.folder, context.say)
        except ConfigError as error:
            context.complain(str(error))
            return False
        # A table is cut off where the console is too narrow for it; lines that are broken can still be read.
        Console(file=context.console.file, width=max(context.console.width, WIDTH)).print(table)
        context.say(f"figure: {', '.join(str(path) for path in paths)}")
        return True
