"""Runs the points of a sweep: load, infer, check, record.

Every point leaves exactly one ``result.json`` in its folder. While it runs there is a ``running.json``; a point that
died without a handler leaves only that, and counts as failed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.config.resolve import Config, as_record
from experiments.config.schema import Executor
from experiments.launch import mpi as ranks
from experiments.launch import mpiexec
from experiments.run.display import Display, summary
from experiments.run.identity import config_hash
from experiments.run.measure import FAULT_NOTE, RESULT, RUNNING, fail, fail_by, finish, is_fault, measure
from sparsednn.comm import Communicator
from sparsednn.results.record import SCHEMA_VERSION
from sparsednn.system.files import write_json
from sparsednn.system.memory import reset_peak_rss

Work = Callable[[Config, Display, Path], dict[str, Any]]
"""What a point does, and what its record says of that: with the configuration, the display and the point's folder."""


def run_point(
    resolve: Callable[[], Config],
    folder: Path,
    overrides: list[str],
    console: Console,
    about: Mapping[str, Any] | None = None,
    benchmark: Work | None = None,
    comm: Communicator | None = None,
) -> dict[str, Any]:
    """Run one point and write its record into `folder`; return the record, whose status is "complete" or "failed".

    `overrides` are those that the user gave for this point, for the record; `about` is what else it is to say. An inference
    is run, and its summary shown, unless there is a `benchmark`. `comm` has the processes that an MPI launcher has started;
    without, a configuration with several processes, or with one and a timeout, starts them, and they write the record.

    Raises
    ------
    OSError
        If the folder cannot be written.
    KeyboardInterrupt
        After the record of the interrupted point is written.
    """
    started = {"host": socket.gethostname(), "process_id": os.getpid(), "started": datetime.now(UTC).isoformat()}
    write_json(folder / RUNNING, {**started, **(about or {})})
    reset_peak_rss()
    record: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "status": "failed", "overrides": overrides, **(about or {})}
    display = Display(console)
    try:
        config = resolve()
        record["config"] = as_record(config)
        record["config_hash"] = config_hash(record["config"])
        if benchmark is None:
            record |= {"neurons": config.neurons, "layers": config.layers}
        own = mpiexec.starts_processes(config.processes, config.cluster.timeout_s)
        if own and benchmark is None and comm is None:
            return mpiexec.run_point(config, folder, overrides, display, about)
        record |= _work(config, record, display, folder, benchmark, comm)
    except KeyboardInterrupt:
        fail(record, "interrupted")
        finish(record, folder)
        raise
    except Exception as error:
        fail_by(record, error)
        if is_fault(error):
            console.print_exception()
            display.say(FAULT_NOTE)
    finish(record, folder)
    if record["status"] == "complete":
        if benchmark is None:
            console.print(summary(record))
        display.say(f"record: {folder / RESULT}")
    return record


def _work(
    config: Config, record: dict[str, Any], display: Display, folder: Path, benchmark: Work | None, comm: Communicator | None
) -> dict[str, Any]:  # fmt: skip
    """Do what the point is about; in one process unless there are others and it is an inference on real threads."""
    if benchmark is not None:
        return benchmark(config, display, folder)
    if comm is not None and config.executor is Executor.threads:
        ranks.require_size(comm, config)
        if comm.size == 1:
            return measure(config, display, folder)
        return ranks.lead(comm, ranks.Order(config, folder, dict(record)), display)
    return measure(config, display, folder)
