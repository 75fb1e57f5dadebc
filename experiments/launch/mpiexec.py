"""Runs a point on processes of its own: starts an MPI launcher, shows rank 0's output, and judges the exit status.

This process never uses MPI itself: where a parent has, processes that it starts with another launcher fail without a word.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from experiments.config.resolve import Config, ConfigError, as_record
from experiments.records.display import Display
from experiments.records.files import RESULT, NotARecordError, read_record
from experiments.records.point import COMPLETE, PointOfExperiment, PointRecord
from experiments.run.measure import INTERRUPTED, ProcessError
from sparsednn.comm.mpi import EXTRA, STEP_TASKS
from sparsednn.errors import MemoryShortageError
from sparsednn.system.files import write_json
from sparsednn.system.json_fields import to_json
from sparsednn.system.memory import MB, shared_memory, shared_memory_left

POINT, LOG = "point.json", "mpiexec.log"
INHERITED = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "PALS_", "MPIR_CVAR_CH4_NETMOD")
"""Variables by which an MPI process finds its launcher begin so; those of another launcher would mislead ours."""

HYDRA_LAUNCHER = "HYDRA_LAUNCHER"
"""Variable that says how MPICH's launcher starts processes: in a job of Slurm with srun, unless told otherwise."""

MPI_BYTES = 1_100_000
"""Bytes of shared memory that MPICH takes for each process to be started."""

RANK = (sys.executable, "-P", str(Path(__file__).with_name("start_rank.py")))
"""Starts one of the processes: by its file, so that a folder ``experiments`` where the user is cannot hide it."""

ENCODING = "utf-8"
"""Encoding of the processes' output, whatever that of the console is."""

GRACE_S = 5.0
"""Time to end after being asked to."""


def starts_processes(processes: int | None, timeout_s: float | None) -> bool:
    """Whether a point runs in processes of its own: in several, or in a new one that can be ended after `timeout_s`."""
    return processes is not None and (processes > 1 or timeout_s is not None)


def run_point(
    config: Config, folder: Path, overrides: list[str], display: Display, experiment: PointOfExperiment | None
) -> PointRecord:
    """Run a point on ``config.processes`` processes; return its record, which they have written.

    Raises
    ------
    ConfigError
        If there is no MPI launcher, or srun has started this process several times.
    MemoryError
        If shared memory has no room even for MPI's own messages.
    ProcessError
        If they have not written a record: one was killed, or all after `cluster.timeout_s`.
    KeyboardInterrupt
        After they have ended.
    """
    n = config.processes or 1
    _refuse_many_parents()
    if config.cluster.mpiexec is None:
        _require_room_to_start(n)
    command = [*launcher(config.cluster.mpiexec), "-n", str(n), *RANK, str(folder)]
    about = None if experiment is None else to_json(experiment)
    write_json(folder / POINT, {"config": as_record(config), "overrides": overrides, "experiment": about})
    status, timed_out = _run(command, folder, display, config.cluster.timeout_s)
    record = _record(folder)
    if status == 0 and record is not None:
        return record
    if timed_out:
        took = "1 process took longer and was ended" if n == 1 else f"{n} processes took longer and were ended"
        raise ProcessError(f"cluster.timeout_s={config.cluster.timeout_s:g}: {took}")
    if record is not None and record.status != COMPLETE:
        return record
    raise ProcessError(f"{n} processes: {_ending(status)}; what they said is in {folder / LOG}. {_way_out(status)}")


def _refuse_many_parents() -> None:
    """Each of several tasks of srun would start all processes, if srun has not told them that they belong together."""
    tasks = os.environ.get(STEP_TASKS, "1")
    if tasks.isdecimal() and int(tasks) > 1:
        raise ConfigError(
            f"processes: this is one of {tasks} tasks of srun, which has not told them of each other; give it the kind of MPI: "
            "cluster.srun_arguments=[--mpi=pmi2] (srun --mpi=list shows what there is)"
        )


def _require_room_to_start(n: int) -> None:
    """MPI would end with SIGBUS, and say nothing of why."""
    room = shared_memory_left()
    if n * MPI_BYTES > room:
        raise MemoryShortageError(
            f"processes={n}: MPI needs {n * MPI_BYTES / MB:.1f} MB of shared memory to start them, and {shared_memory()} has "
            f"room for {room / MB:.1f} MB; make it larger (docker run --shm-size=SIZE), or use fewer processes"
        )


def launcher(given: str | None) -> list[str]:
    """Return the command that starts MPI processes: the one that is given, or that beside this interpreter.

    Raises
    ------
    ConfigError
        If mpi4py is not installed, or there is no such command.
    """
    if importlib.util.find_spec("mpi4py") is None:
        raise ConfigError(f"processes: mpi4py is not installed; {EXTRA}")
    if given is not None:
        words = given.split()
        if not words or shutil.which(words[0]) is None:
            raise ConfigError(f"cluster.mpiexec={given}: there is no such command; give its path, with options if need be")
        return words
    beside = Path(sys.executable).parent / "mpiexec"
    if not beside.exists():
        raise ConfigError(f"processes: there is no mpiexec beside {sys.executable}; {EXTRA}, or cluster.mpiexec=COMMAND")
    return [str(beside)]


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what another MPI launcher has left in it.

    MPICH's launcher would wait for ever for srun where there is none, as in a container, and in a shell that srun has started,
    which has all of its node. So without srun, or in a job on one node, it is told to start processes itself.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
    in_a_job = "SLURM_JOB_ID" in kept
    itself = in_a_job and (kept.get("SLURM_JOB_NUM_NODES") == "1" or shutil.which("srun") is None)
    return ({HYDRA_LAUNCHER: "fork"} if itself else {}) | kept


def _run(command: list[str], folder: Path, display: Display, timeout_s: float | None) -> tuple[int, bool]:
    """Run to the end, or until the time is over; return the exit status, and whether it was."""
    with (folder / LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, env=clean_environment() | {"PYTHONIOENCODING": ENCODING}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log, encoding=ENCODING, errors="replace", start_new_session=True,
        )  # fmt: skip
        shown = threading.Thread(target=_show, args=(process, display), daemon=True)
        shown.start()
        try:
            status, timed_out = process.wait(timeout_s), False
        except subprocess.TimeoutExpired:
            _end(process)
            status, timed_out = process.returncode, True
        except BaseException:
            _end(process)
            raise
        shown.join(GRACE_S)
    return status, timed_out


def _show(process: subprocess.Popen[str], display: Display) -> None:
    for line in process.stdout or ():
        display.say(line.rstrip())


def _end(process: subprocess.Popen[str]) -> None:
    """End the launcher and all that it has started: ask, then force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    process.wait()


def _record(folder: Path) -> PointRecord | None:
    """The record that the processes have written, if they have."""
    try:
        return read_record(folder / RESULT)
    except NotARecordError:
        return None


def _ending(status: int) -> str:
    """Say what an exit status means."""
    if status == INTERRUPTED:
        return "they were interrupted"
    number = _signal(status)
    if number == 1:  # what programs say when they fail, rather than SIGHUP
        return f"they ended with status {status} and without a record"
    with contextlib.suppress(ValueError):
        return f"a process was ended by {signal.Signals(number).name}"
    return f"they ended with status {status} and without a record"


def _signal(status: int) -> int:
    """The number of the signal behind an exit status: a shell adds 128; MPICH's launcher does not."""
    return -status if status < 0 else status % 128


def _way_out(status: int) -> str:
    """Say what may help. SIGBUS is what writing to shared memory comes to where it is full."""
    if _signal(status) == signal.SIGBUS:
        return (
            f"If it was for lack of shared memory ({shared_memory()} has room for {shared_memory_left() / MB:.1f} MB): make it "
            "larger (docker run --shm-size=SIZE), or use fewer processes, or cluster.share_network=false"
        )
    return "If a process was killed for lack of memory: fewer processes, or network.residency=stream"
