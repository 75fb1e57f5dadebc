"""Runs one point: loads, infers, checks, and writes its record.

Every point leaves exactly one ``result.json`` in its folder. While it runs there is a ``running.json``; a point that
died without a handler leaves only that, and counts as failed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from experiments.config.resolve import Config, as_record
from experiments.config.schema import SIMULATED
from experiments.launch import mpi as ranks
from experiments.launch import mpiexec
from experiments.records.display import Display
from experiments.records.files import RESULT, RUNNING
from experiments.records.point import COMPLETE, PointOfExperiment, PointRecord, RunningMark
from experiments.records.summary import summary
from experiments.run.identity import config_hash
from experiments.run.measure import FAULT_NOTE, Measured, fail_by, finish, is_fault, measure
from sparsednn.comm import Communicator
from sparsednn.system.files import write_json
from sparsednn.system.json_fields import to_json
from sparsednn.system.memory import reset_peak_rss

Work = Callable[[Config, Display, Path], Measured]
"""The work of a point, given the configuration, the display and the point's folder."""


def run_point(
    resolve: Callable[[], Config],
    folder: Path,
    overrides: list[str],
    console: Console,
    experiment: PointOfExperiment | None = None,
    benchmark: Work | None = None,
    comm: Communicator | None = None,
) -> PointRecord:
    """Run one point and write its record into `folder`; return the record, whose status is "complete" or "failed".

    `overrides` are those that the user gave for this point, and `experiment` is what it is of, for the record. An inference is
    run, and its summary shown, unless there is a `benchmark`. `comm` has the processes that an MPI launcher has started;
    without, a configuration with several processes, or with one and a timeout, starts them, and they write the record.

    Raises
    ------
    OSError
        If the folder cannot be written.
    KeyboardInterrupt
        After the record of the interrupted point is written.
    """
    mark_running(folder, experiment)
    reset_peak_rss()
    record, display = PointRecord(overrides=overrides, experiment=experiment), Display(console)
    try:
        config = resolve()
        record.config = as_record(config)
        record.config_hash = config_hash(record.config)
        if benchmark is None:
            record.neurons, record.layers = config.neurons, config.layers
        own = mpiexec.starts_processes(config.processes, config.cluster.timeout_s)
        if own and benchmark is None and comm is None:
            return mpiexec.run_point(config, folder, overrides, display, experiment)
        _work(config, record, display, folder, benchmark, comm).enter(record)
    except KeyboardInterrupt:
        record.fail("interrupted")
        finish(record, folder)
        raise
    except Exception as error:
        fail_by(record, error)
        if is_fault(error):
            console.print_exception()
            display.say(FAULT_NOTE)
    finish(record, folder)
    if record.status == COMPLETE:
        if record.has_run:
            console.print(summary(record.run))
        display.say(f"record: {folder / RESULT}")
    return record


def mark_running(folder: Path, experiment: PointOfExperiment | None) -> None:
    """Leave the mark of a point that is under way."""
    mark = RunningMark(
        host=socket.gethostname(), process_id=os.getpid(), started=datetime.now(UTC).isoformat(), experiment=experiment
    )  # fmt: skip
    write_json(folder / RUNNING, to_json(mark))


def _work(
    config: Config, record: PointRecord, display: Display, folder: Path, benchmark: Work | None, comm: Communicator | None
) -> Measured:  # fmt: skip
    """Do what the point is about; in one process unless there are others and it is an inference on real threads."""
    if benchmark is not None:
        return benchmark(config, display, folder)
    if comm is not None and config.executor != SIMULATED:
        ranks.require_size(comm, config)
        if comm.size == 1:
            return measure(config, display, folder)
        return ranks.lead(comm, ranks.Order(config, folder, record), display)
    return measure(config, display, folder)
