"""Runs a point on all processes of an MPI job: rank 0 tells the others what to run, and all end together.

Rank 0 alone composes configurations and owns folders, records and the terminal. An error in any rank ends all of them: it is
written into the point's record and said once, with the rank.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from rich.console import Console

from experiments.config.resolve import Config, ConfigError
from experiments.records.display import Display
from experiments.records.point import PointRecord
from experiments.run.measure import FAULT_NOTE, INTERRUPTED, Measured, check, fail_by, finish, is_fault, measure, message
from experiments.run.memory_estimate import require_room
from sparsednn.comm import Communicator
from sparsednn.comm.base import NodeError
from sparsednn.engine import default_threads
from sparsednn.results.record import MeasuredRun, ProcessRecord
from sparsednn.system.console import FAULT
from sparsednn.system.memory import GB, shared_memory

ENDING_S = 20.0
"""A process that leaves it to another to say what both fail with waits so long for being ended."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order of rank 0 to the others: a configuration, the point's folder, and its record so far."""

    config: Config
    folder: Path
    record: PointRecord


def require_size(comm: Communicator, config: Config) -> None:
    """Refuse another number of processes than the configuration says.

    Raises
    ------
    ConfigError
        Also where a launcher of another MPI has started processes that know nothing of each other.
    """
    wanted = config.processes
    if wanted not in (None, comm.size):
        raise ConfigError(
            f"processes={wanted}: the MPI launcher has started {comm.size}; leave processes out, or start mpiexec -n {wanted}"
        )


def lead(comm: Communicator, order: Order, display: Display) -> Measured:
    """Run a point on all processes, as rank 0; return its record.

    Raises
    ------
    ValueError, ...
        Before the others are told, for what cannot be run. Afterwards no error comes out of here: all processes end.
    """
    check(order.config)
    require_room(order.config, comm.node_size)
    threads, cores = order.config.threads or 1, default_threads()
    if comm.node_size * threads > cores:
        display.say(f"note: {comm.node_size} processes of {threads} or more threads on {cores} cores: they take turns")
    comm.broadcast(order)
    with ending_together(comm, order):
        measured = _measure(comm, order, display)
    copies = [process.unshared_bytes for process in _processes(measured) if process.unshared_bytes]
    if copies:
        display.say(
            f"note: {len(copies)} processes have copies of the network of their own, {sum(copies) / GB:.2f} GB in all: shared "
            f"memory has no room for it (make {shared_memory()} larger; docker run --shm-size=SIZE)"
        )
    return measured


def _measure(comm: Communicator, order: Order, display: Display) -> Measured:
    """Run a point; its record says of each process what it has a copy of that was to be shared."""
    before = comm.unshared_bytes
    measured = measure(order.config, display, order.folder, comm)
    for process, n_bytes in zip(_processes(measured), comm.all_gather(comm.unshared_bytes - before), strict=True):
        process.unshared_bytes = n_bytes
    return measured


def _processes(measured: Measured) -> list[ProcessRecord]:
    """Return what the record of a run on real threads says of each process."""
    assert isinstance(measured.body, MeasuredRun)
    return measured.body.process_records


def run_as_follower(comm: Communicator) -> None:
    """Run what rank 0 says, as another rank, until there is nothing more."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # in an MPI call Python would not see it; rank 0 says what happened
    nobody_looks = Display(Console(quiet=True))
    nothing: Order | None = None
    while (order := comm.broadcast(nothing)) is not None:
        with ending_together(comm, order):
            _measure(comm, order, nobody_looks)


@contextmanager
def ending_together(comm: Communicator, order: Order) -> Iterator[None]:
    """End all processes if this one fails, with a record that says which and why."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, NodeError) and comm.node_rank > 0:
            sleep(ENDING_S)  # the first one is about to end all
        if is_fault(error):
            traceback.print_exc()
            print(FAULT_NOTE, file=sys.stderr)
        fail_by(order.record, error, f"rank {comm.rank} of {comm.size}: ")
        finish(order.record, order.folder)
        interrupted = isinstance(error, KeyboardInterrupt)
        comm.abort(message(error), status=INTERRUPTED if interrupted else FAULT if is_fault(error) else 1)
        raise
