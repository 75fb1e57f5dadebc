"""Runs one call of run.py: runs its points, reports failures, returns the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from time import monotonic
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from experiments.config import overrides
from experiments.config.one_composition import compose_once
from experiments.config.resolve import ConfigError, chosen_experiment, resolve
from experiments.launch import outcomes
from experiments.launch.mpi import run_as_follower
from experiments.launch.outcomes import PointOutcome
from experiments.launch.point import run_point
from experiments.launch.without_running import Elsewhere
from experiments.records.display import PLAIN_WIDTH, Display, time_left
from experiments.records.files import RESULT
from experiments.records.point import FAILED
from experiments.records.sweep_table import sweep_table
from experiments.run.measure import INTERRUPTED, exit_status
from sparsednn.comm import Communicator
from sparsednn.comm.mpi import MpiCommunicator, launched
from sparsednn.system.console import endure


class Session:
    """Keeps what the points of a sweep have come to, so that a sweep goes on past a failed point and tells at its end.

    A launcher that runs points in other processes sends them the session: as a new one, whose points come back as outcomes.
    """

    def __init__(self, conf: Path, n_points: int | None = None) -> None:
        self.conf = conf
        self.comm: Communicator | None = None
        self.console = Console()
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self.errors = Console(stderr=True)
        self.elsewhere = Elsewhere(self.console)
        self.outcomes: dict[int, PointOutcome] = {}
        self.arrived: set[int] = set()
        """Numbers of those that other processes have sent."""
        self.n_points = n_points  # of a sweep
        self.n_begun, self.started_at = 0, monotonic()

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_another_process, (self.conf, self.n_points)

    def run(self, cfg: DictConfig, folder: Path, given: list[str], number: int = 0) -> PointOutcome:
        """Run what Hydra has composed into `folder`: one point, or an experiment.

        `given` are the user's overrides, `number` is that of the job in its sweep.
        """
        if self.n_points is not None:
            done = f"point {number + 1} of {self.n_points}"
            left = time_left(monotonic() - self.started_at, self.n_begun, self.n_points)
            Display(self.console).say(f"{done}: {' '.join(given)}{left}")
        self.n_begun += 1
        outcome = self._experiment(cfg, folder, given, number) or self._point(cfg, folder, given, number)
        self.outcomes[number] = outcome
        return outcome

    def _experiment(self, cfg: DictConfig, folder: Path, given: list[str], number: int) -> PointOutcome | None:
        errors: list[str] = []

        def complain(text: str) -> None:
            errors.append(text)
            self._complain(text)

        try:
            experiment = chosen_experiment(cfg)
            if experiment is None:
                return None
            # with Matplotlib and pandas: plain runs need not wait for them
            from experiments.sweeps.experiment import RunContext
            from experiments.sweeps.suite import run_experiment

            context = RunContext(self.console, complain, self.elsewhere, self.comm)
            status = run_experiment(experiment, folder, given, context)
        except (ConfigError, HydraException, OmegaConfBaseException) as error:  # of several experiments, the others go on
            complain(_composition_error(error))
            status = 1
        return PointOutcome(number, folder, status, errors=tuple(errors))

    def _point(self, cfg: DictConfig, folder: Path, given: list[str], number: int) -> PointOutcome:
        found = self.elsewhere.record(lambda: resolve(cfg), folder, given)
        record = found or run_point(lambda: resolve(cfg), folder, given, self.console, comm=self.comm)
        if record.status == FAILED:
            self._complain(f"{record.error} (record: {folder / RESULT})")
        return PointOutcome(number, folder, exit_status(record), record)

    def main(self, point: Callable[[], Any], arguments: Sequence[str]) -> int:
        """Let Hydra compose and run all points; return the exit code.

        Under an MPI launcher, all of that is rank 0's; the others only run what it tells them.
        """
        if not launched():
            return self._main(point, arguments)
        try:
            self.comm = MpiCommunicator()
        except ImportError as error:
            self._complain(str(error))
            return 1
        if self.comm.rank > 0:
            run_as_follower(self.comm)
            return 0
        try:
            return self._main(point, arguments)
        finally:
            self.comm.broadcast(None)

    def _main(self, point: Callable[[], Any], arguments: Sequence[str]) -> int:
        try:
            overrides.check(arguments, self.conf)
            compose_once(arguments)
            if self.comm is not None:
                overrides.refuse_launchers(arguments)
            outcomes.listen(self._take)
            self.n_points = overrides.n_points(arguments)
            point()
        except KeyboardInterrupt:
            self._complain("interrupted")
            return INTERRUPTED
        except (HydraException, OmegaConfBaseException, ConfigError) as error:
            self._complain(_composition_error(error))
            return 1
        except BrokenExecutor as error:
            why = str(error).partition("\n")[0]
            self._complain(f"a process that ran points for Hydra's launcher was ended, and its points with it: {why}")
            return 1
        except OSError as error:
            self._complain(f"the output folder cannot be written: {error}; choose another with hydra.run.dir=FOLDER")
            return 1
        return self._end()

    def _take(self, outcome: PointOutcome) -> None:
        """Keep what another process has sent."""
        self.arrived.add(outcome.number)
        self.outcomes[outcome.number] = outcome

    def _end(self) -> int:
        """Show a sweep's table and what failed in it."""
        done = [self.outcomes[number] for number in sorted(self.outcomes)]
        points = [(one.folder, one.record) for one in done if one.record is not None]
        failed = [(folder, record) for folder, record in points if record.status == FAILED]
        if len(points) > 1 or (points and self.arrived):
            self.console.print(sweep_table([record for _, record in points]))
            if failed:
                lines = [f"{len(failed)} of {len(points)} points failed:"]
                self._complain("\n  ".join(lines + [f"{folder}: {record.error}" for folder, record in failed]))
        for one in done:
            if one.errors and one.number in self.arrived:  # said in a process whose console may be a file
                self._complain("\n  ".join([f"{one.folder}:", *one.errors]))
        return max((one.status for one in done), default=0)

    def _complain(self, text: str) -> None:
        Display(self.errors).say(f"error: {text}")


def _in_another_process(conf: Path, n_points: int | None) -> Session:
    """Return the session of a process that a launcher of Hydra has started."""
    endure()
    return Session(conf, n_points)


def _composition_error(error: BaseException) -> str:
    """Say in one or two lines why Hydra could not compose: its own message, then what OmegaConf said of the value."""
    text = str(error).strip()
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: {text.splitlines()[0]}" if error.full_key else text.splitlines()[0]
    if isinstance(error.__cause__, OmegaConfBaseException):
        reason = str(error.__cause__).splitlines()[0]
        text = f"{text.removeprefix('Error merging override ')}: {reason}" if reason not in text else text
    if "LexerNoViableAlt" in text:
        text += "\nsuch characters need quotes, for the shell and for Hydra: 'key=\"value\"'"
    return text
