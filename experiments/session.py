"""One call of run.py: its points, what failed, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from experiments import overrides
from experiments.display import Display, sweep_table, time_left
from experiments.elsewhere import Elsewhere
from experiments.launch import run_point
from experiments.measuring import INTERRUPTED, RESULT
from experiments.ranks import follow
from sparsednn.comm import Communicator
from sparsednn.comm.mpi import MpiCommunicator, launched
from sparsednn.config import ConfigError, chosen_experiment, resolve

PLAIN_WIDTH = 160


class Session:
    """Keeps what the points of a sweep have come to, so that a sweep goes on past a failed point and tells at its end."""

    def __init__(self, conf: Path) -> None:
        self.conf = conf
        self.comm: Communicator | None = None
        self.console = Console()
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self.errors = Console(stderr=True)
        self.elsewhere = Elsewhere(self.console)
        self.points: list[tuple[Path, dict[str, Any]]] = []
        self.failed = False  # an experiment
        self.n_points: int | None = None  # of a sweep
        self.n_begun, self.started_at = 0, monotonic()

    def run(self, cfg: DictConfig, folder: Path, given: list[str]) -> None:
        """Run what Hydra has composed into `folder`: one point, or an experiment; `given` are the user's overrides."""
        if self.n_points is not None:
            done = f"point {self.n_begun + 1} of {self.n_points}"
            left = time_left(monotonic() - self.started_at, self.n_begun, self.n_points)
            Display(self.console).say(f"{done}: {' '.join(given)}{left}")
        self.n_begun += 1
        try:
            experiment = chosen_experiment(cfg)
            if experiment is not None:
                from experiments.members import run_experiment  # with Matplotlib and pandas: plain runs need not wait

                arguments = (experiment, folder, given, self.console, self._complain, self.elsewhere, self.comm)
                self.failed |= not run_experiment(*arguments)
                return
        except (ConfigError, HydraException, OmegaConfBaseException) as error:  # of several experiments, the others go on
            self.failed = True
            self._complain(_composition_error(error))
            return
        found = self.elsewhere.record(lambda: resolve(cfg), folder, given)
        record = found or run_point(lambda: resolve(cfg), folder, given, self.console, comm=self.comm)
        self.points.append((folder, record))
        if record["status"] == "failed":
            self._complain(f"{record['error']} (record: {folder / RESULT})")

    def main(self, point: Callable[[], None], arguments: Sequence[str]) -> int:
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
            follow(self.comm)
            return 0
        try:
            return self._main(point, arguments)
        finally:
            self.comm.broadcast(None)

    def _main(self, point: Callable[[], None], arguments: Sequence[str]) -> int:
        try:
            overrides.check(arguments, self.conf)
            self.n_points = overrides.n_points(arguments)
            point()
        except KeyboardInterrupt:
            self._complain("interrupted")
            return INTERRUPTED
        except (HydraException, OmegaConfBaseException, ConfigError) as error:
            self._complain(_composition_error(error))
            return 1
        except OSError as error:
            self._complain(f"the output folder cannot be written: {error}; choose another with hydra.run.dir=FOLDER")
            return 1
        return self._end()

    def _end(self) -> int:
        """Show a sweep's table and what failed in it."""
        failed = [(folder, record) for folder, record in self.points if record["status"] == "failed"]
        if len(self.points) > 1:
            self.console.print(sweep_table([record for _, record in self.points]))
            if failed:
                lines = [f"{len(failed)} of {len(self.points)} points failed:"]
                self._complain("\n  ".join(lines + [f"{folder}: {record['error']}" for folder, record in failed]))
        return 1 if failed or self.failed else 0

    def _complain(self, text: str) -> None:
        Display(self.errors).say(f"error: {text}")


def _composition_error(error: BaseException) -> str:
    """What Hydra could not compose, in one or two lines: its own message, then what OmegaConf said of the value."""
    text = str(error).strip()
    if isinstance(error.__cause__, OmegaConfBaseException):
        reason = str(error.__cause__).splitlines()[0]
        text = f"{text.removeprefix('Error merging override ')}: {reason}" if reason not in text else text
    return text
