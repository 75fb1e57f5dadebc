"""Finds records for points that do not run here: takes an earlier record, or hands the point to Slurm."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from experiments.config.resolve import Config, ConfigError, as_record
from experiments.config.schema import ExperimentConfig
from experiments.config.slurm_rules import n_cores, submits
from experiments.launch import slurm
from experiments.launch.resume import Earlier, leads_to_own, leave_note, point_of, reserved_folder, roots
from experiments.records.display import Display
from experiments.records.files import NOTE, RESULT, RUNNING, status_of, write_record
from experiments.records.point import DRY_RUN, SUBMITTED, PointOfExperiment, PointRecord, SubmittedJob
from experiments.run.environment import environment
from experiments.run.identity import config_hash


class Elsewhere:
    """Finds a record for each point that needs no run: an earlier one with resume=true, or that of a submitted job."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._earlier: Earlier | None = None
        self._claimed: set[Path] = set()

    def record(
        self,
        resolve: Callable[[], Config],
        folder: Path,
        overrides: list[str],
        about: PointOfExperiment | None = None,
        experiment: ExperimentConfig | None = None,
    ) -> PointRecord | None:
        """Return the record that stands for a point, or None if the point is to be run.

        Its status is "complete", "submitted", "dry_run" (with cluster.dry_run=true, and nothing is left but the script) or
        "failed". `about` is what it is to say of its experiment; each record stands for one point of an `experiment`.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        try:
            config = resolve()
        except (ConfigError, HydraException, OmegaConfBaseException):
            return None  # the run says what is wrong, and records it
        found = self._take(config, folder, about, experiment) if config.resume else None
        if found is not None:
            return replace(found, overrides=overrides)
        if about or not leads_to_own(folder):  # a job runs in the folder of the point that it was submitted for
            (folder / NOTE).unlink(missing_ok=True)
        return self._submit(config, folder, overrides, about) if submits(config) else None

    def digest(self, config: Config, experiment: ExperimentConfig | None = None) -> str:
        """Return the hash of what a point runs, be it here or in a job."""
        return config_hash(as_record(slurm.job_config(config) if submits(config) else config), experiment)

    def find(
        self, config: Config, folder: Path, about: PointOfExperiment | None, experiment: ExperimentConfig | None = None
    ) -> tuple[Path, PointRecord] | None:
        """Return the earlier record of a point, and where it is."""
        if self._earlier is None:
            self._earlier = Earlier(roots(folder), Display(self.console).say)
        reserved = reserved_folder(folder) if experiment is None else folder.parent
        return self._earlier.find(self.digest(config, experiment), folder, reserved, point_of(about), self._claimed)

    def _take(
        self, config: Config, folder: Path, about: PointOfExperiment | None, experiment: ExperimentConfig | None
    ) -> PointRecord | None:
        found = self.find(config, folder, about, experiment)
        if found is None:
            return None
        path, record = found
        if experiment is not None:
            self._claimed.add(path)
        if path.parent != folder.resolve() or about:
            leave_note(folder, path, about)
        else:
            (folder / NOTE).unlink(missing_ok=True)
        host = socket.gethostname() if record.environment is None else record.environment.host
        of = "" if host == socket.gethostname() else f" (of {host})"
        Display(self.console).say(f"resume: the point has a record already: {_shown(path)}{of}")
        return record if about is None else replace(record, experiment=about)

    def _submit(self, config: Config, folder: Path, overrides: list[str], about: PointOfExperiment | None) -> PointRecord:
        """Hand a point to Slurm; the job overwrites the record that says so."""
        display, path = Display(self.console), slurm.write_script(config, overrides, folder)
        record = PointRecord(
            status=SUBMITTED, overrides=overrides, experiment=about, config=as_record(config), config_hash=self.digest(config),
            environment=environment(), neurons=config.neurons, layers=config.layers,
            body=SubmittedJob(job_id=None, script=str(path)),
        )  # fmt: skip
        if config.threads is None and config.cluster.cores_per_node is None:
            display.say(
                f"cluster.cores_per_node is not given: nodes are taken to have {n_cores(config.cluster)}, as this machine"
            )
        if config.cluster.dry_run:
            display.say(f"would be submitted: sbatch --parsable {path}")
            self.console.out(path.read_text(encoding="utf-8"), highlight=False, end="")
            record.status = DRY_RUN
            return record
        return self._hand_over(record, path, folder)

    def _hand_over(self, record: PointRecord, script: Path, folder: Path) -> PointRecord:
        """Call sbatch, with the record in its place before the job can begin."""
        write_record(folder, record)
        (folder / RUNNING).unlink(missing_ok=True)
        if record.experiment is not None:
            leave_note(folder, (folder / RESULT).resolve(), record.experiment)  # the job knows nothing of an experiment
        try:
            record.body = SubmittedJob(job_id=slurm.sbatch(script), script=str(script))
        except ConfigError as error:
            record.fail(str(error))
        if _waits(folder):
            write_record(folder, record)
        if isinstance(record.body, SubmittedJob) and record.status == SUBMITTED:
            Display(self.console).say(f"submitted: job {record.body.job_id}, script {script}")
        return record


def _waits(folder: Path) -> bool:
    """Whether a job has not begun yet: it may end before sbatch does."""
    status = status_of(folder / RESULT)
    return not (folder / RUNNING).exists() if status is None else status == SUBMITTED


def _shown(path: Path) -> str:
    """Return a path as seen from the current folder, if it is below it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
